"""`vst-vla demos`: demonstrations as a LeRobot v3 dataset, by the expert or replayed; or a preview of a dataset."""

from __future__ import annotations

from typing import Any

from vst_vla.policies.collect import DemosReport
from vst_vla.policies.demos import make_demos
from vst_vla.policies.preview import write_preview
from vst_vla.policies.replay import make_replays
from vst_vla.scripts.config import compose

EXPERT_KEYS = ("suite", "task_ids", "num_episodes", "seed", "noise", "vary", "vary_strength")


def main(argv: list[str]) -> int:
    """Does what the keys ask for and says where the result is."""
    given = {override.split("=", 1)[0] for override in argv}
    if "preview" in given and "out" not in given:
        argv = [*argv, "out=null"]  # no data set is made
    config = compose("demos", argv)
    preview, hdf5 = config.pop("preview"), config.pop("hdf5")
    if preview is not None:
        return _preview(preview, config["out"], given)
    report = make_demos(**config) if hdf5 is None else make_replays(hdf5=hdf5, **_without_expert(config, given))
    print(_summary(report, what="expert" if hdf5 is None else "replay"))
    return 0


def _preview(folder: str, out: str | None, given: set[str]) -> int:
    others = sorted(given - {"preview", "out"})
    if others:
        raise ValueError(
            f"{others[0]}= has no meaning with preview=, which shows a dataset: give preview= and out= only"
        )
    print(write_preview(folder, out=out))
    return 0


def _without_expert(config: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """The keys that a replay has. Raises ValueError when another was given."""
    for key in EXPERT_KEYS:
        if key in given:
            raise ValueError(f"{key}= is for the expert; hdf5= replays every file of its folder as it is: leave it out")
    return {key: value for key, value in config.items() if key not in EXPERT_KEYS}


def _summary(report: DemosReport, *, what: str) -> str:
    done = "complete already" if report.reused else f"made in {report.wall_s:.0f} s"
    without = f", without task {' and '.join(map(str, report.failed_tasks))}" if report.failed_tasks else ""
    return (
        f"{report.folder}: {done}, {report.num_episodes} episodes, {report.num_frames} frames, "
        f"{what} success {report.success_rate:.0%}, {report.assets} assets{without}"
    )
