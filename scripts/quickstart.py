"""`vst-vla quickstart`: the verbs in a row: demos, qa, train (spatial), train (policy), rollout.

Every stage resumes: after Ctrl-C or a kill, the same command goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vst_vla.scripts import demos, qa, rollout, train
from vst_vla.scripts.config import compose
from vst_vla.scripts.memory import PeakMemory
from vst_vla.vla.files import write_json

Verb = Callable[[list[str]], int]


def main(argv: list[str]) -> int:
    """Runs the recipe in configs/quickstart.yaml and ends with OUT/report.json and OUT/report.html."""
    config = compose("quickstart", argv)
    out = Path(config["out"])
    stages: list[tuple[str, str, Verb, dict[str, Any]]] = [
        ("demos", "demos", demos.main, config["demos"]),
        ("spatial", "qa", qa.main, config["qa"]),
        ("spatial", "train", train.main, config["spatial"]),
        ("policy", "train", train.main, config["policy"]),
        ("rollout", "rollout", rollout.main, config["rollout"]),
    ]
    clock = StageClock(out / "stages.json")
    with PeakMemory() as memory:
        for number, (stage, verb, run, settings) in enumerate(stages, start=1):
            arguments = overrides(settings)
            print(f"\n[{number}/{len(stages)}] {stage}: vst-vla {verb} {' '.join(arguments)}", flush=True)
            with clock.time(f"{number}-{stage}"):
                status = run(arguments)
            if status != 0:
                return status
    return finish(out, clock=clock, peak_gib=memory.peak_gib)


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
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if _is_plain(value) else str(value)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


class StageClock:
    """Seconds that each stage took, added up over interrupted runs and kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}

    def time(self, stage: str) -> _Timed:
        """A context that adds its duration to `stage`."""
        return _Timed(self, stage)

    def add(self, stage: str, seconds: float) -> None:
        """Counts `seconds` more for `stage`; a repeat of a finished stage takes next to nothing."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        write_json(self._path, self.seconds)

    def by_name(self) -> dict[str, float]:
        """Seconds by stage name; stages that are two verbs are summed."""
        total: dict[str, float] = {}
        for key, seconds in self.seconds.items():
            name = key.partition("-")[2]
            total[name] = round(total.get(name, 0.0) + seconds, 1)
        return total


class _Timed:
    def __init__(self, clock: StageClock, stage: str) -> None:
        self._clock, self._stage = clock, stage

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        self._clock.add(self._stage, time.monotonic() - self._start)


def finish(out: Path, *, clock: StageClock, peak_gib: float) -> int:
    """Adds the stages' times and the whole recipe's peak memory to the rollout's report, and says how it went."""
    path = out / "report.json"
    report = json.loads(path.read_text())
    stages = clock.by_name()
    report["stage_s"] = stages
    report["wall_s"] = round(sum(stages.values()), 1)
    report["peak_rss_gib"] = round(max(peak_gib, report.get("quickstart_peak_gib", 0.0)), 2)
    write_json(path, report)
    low, high = report["ci95"]
    won = round(report["success_rate"] * report["num_episodes"])
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in stages.items())
    print(
        f"\n{won}/{report['num_episodes']} episodes succeeded (95 % interval {low:.0%} to {high:.0%}), "
        f"{report['suite']} task {report['task_id']}, {report['assets']} assets\n"
        f"{report['wall_s'] / 60:.1f} minutes ({times}), peak memory {report['peak_rss_gib']} GiB\n"
        f"watch it: {out / 'report.html'}"
    )
    return 0
