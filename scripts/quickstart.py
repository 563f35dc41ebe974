"""`vst-vla quickstart`: the verbs in a row: demos, qa, train (spatial), train (policy), rollout.

Every stage resumes: after Ctrl-C or a kill, the same command goes on where it was.
"""

from __future__ import annotations

import json
from pathlib import Path

from vst_vla.envs.record import RECORDS_FILE, RecordFile
from vst_vla.envs.report import REPORT_JSON, write_report
from vst_vla.scripts import demos, qa, rollout, train
from vst_vla.scripts.config import compose
from vst_vla.scripts.stages import Progress, Stage, overrides, run_stages


def main(argv: list[str]) -> int:
    """Runs the recipe in configs/quickstart.yaml and ends with OUT/report.json and OUT/report.html."""
    config = compose("quickstart", argv)
    out = Path(config["out"])
    spatial = [*overrides(config["spatial"]), f"recipe.steps={config['spatial_steps']}"]
    policy = [*overrides(config["policy"]), f"recipe.steps={config['policy_steps']}"]
    stages = [
        Stage(name="demos", verb="demos", run=demos.main, arguments=overrides(config["demos"])),
        Stage(name="spatial", verb="qa", run=qa.main, arguments=overrides(config["qa"])),
        Stage(name="spatial", verb="train", run=train.main, arguments=spatial),
        Stage(name="policy", verb="train", run=train.main, arguments=policy),
        Stage(name="rollout", verb="rollout", run=rollout.main, arguments=overrides(config["rollout"])),
    ]
    progress = Progress(out / "progress.json")
    if status := run_stages(stages, progress=progress):
        return status
    return finish(out, progress, command=" ".join(["vst-vla quickstart", *argv]))


def finish(out: Path, progress: Progress, *, command: str) -> int:
    """Puts the stages' times and the recipe's peak memory into the rollout's report, and says how it went."""
    report = json.loads((out / REPORT_JSON).read_text())
    stages = {name: round(seconds, 1) for name, seconds in progress.seconds.items()}
    report |= {"command": command, "stage_s": stages, "wall_s": round(sum(stages.values()), 1)}
    report |= {"peak_rss_gib": round(progress.peak_gib, 2)}
    page = write_report(report, RecordFile(out / RECORDS_FILE).read(), out=out)
    low, high = report["ci95"]
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items())
    print(
        f"\n{report['num_success']}/{report['num_episodes']} episodes succeeded "
        f"(95 % interval {low:.0%} to {high:.0%}): "
        f"{report['suite']} task {report['task_id']}, {report['assets']} assets\n"
        f"{report['wall_s'] / 60:.1f} minutes ({times}), peak memory {report['peak_rss_gib']} GiB\n"
        f"watch it: {page}"
    )
    return 0
