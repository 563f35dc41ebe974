"""`vst-vla quickstart`: the verbs in a row: demos, qa, train (spatial), train (policy), rollout.

Every stage resumes: after Ctrl-C or a kill, the same command goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vst_vla.envs.record import RECORDS_FILE, RecordFile
from vst_vla.envs.report import REPORT_JSON, write_report
from vst_vla.scripts import demos, qa, rollout, train
from vst_vla.scripts.config import compose
from vst_vla.scripts.memory import PeakMemory
from vst_vla.vla.files import write_json

Verb = Callable[[list[str]], int]


def main(argv: list[str]) -> int:
    """Runs the recipe in configs/quickstart.yaml and ends with OUT/report.json and OUT/report.html."""
    config = compose("quickstart", argv)
    out = Path(config["out"])
    stages: list[tuple[str, str, Verb, list[str]]] = [
        ("demos", "demos", demos.main, overrides(config["demos"])),
        ("spatial", "qa", qa.main, overrides(config["qa"])),
        ("spatial", "train", train.main, [*overrides(config["spatial"]), f"recipe.steps={config['spatial_steps']}"]),
        ("policy", "train", train.main, [*overrides(config["policy"]), f"recipe.steps={config['policy_steps']}"]),
        ("rollout", "rollout", rollout.main, overrides(config["rollout"])),
    ]
    progress = Progress(out / "progress.json")
    with PeakMemory() as memory:
        for number, (stage, verb, run, arguments) in enumerate(stages, start=1):
            print(f"\n[{number}/{len(stages)}] {stage}: vst-vla {verb} {' '.join(arguments)}", flush=True)
            start = time.monotonic()
            try:
                status = run(arguments)
            finally:
                progress.add(stage, seconds=time.monotonic() - start, peak_gib=memory.peak_gib)
            if status != 0:
                return status
    return finish(out, progress, command=" ".join(["vst-vla quickstart", *argv]))


def overrides(settings: dict[str, Any], *, prefix: str = "") -> list[str]:
    """A nested dictionary as Hydra overrides, in order."""
    flat: list[str] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            flat += overrides(value, prefix=f"{prefix}{key}.")
        else:
            flat.append(f"{prefix}{key}={_text(value)}")
    return flat


def _text(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


class Progress:
    """Seconds by stage and the highest memory so far, kept in a file, so that an interrupted recipe counts them too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        before = json.loads(path.read_text()) if path.is_file() else {}
        self.seconds: dict[str, float] = before.get("seconds", {})
        self.peak_gib: float = before.get("peak_gib", 0.0)

    def add(self, stage: str, *, seconds: float, peak_gib: float) -> None:
        """Counts `seconds` more for `stage`; repeating a finished stage takes next to nothing."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.peak_gib = max(self.peak_gib, peak_gib)
        write_json(self._path, {"seconds": self.seconds, "peak_gib": self.peak_gib})


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
