"""`vst-vla demos`: expert demonstrations as a LeRobot v3 dataset."""

from __future__ import annotations

from vst_vla.policies.demos import make_demos
from vst_vla.scripts.config import compose


def main(argv: list[str]) -> int:
    """Records the demonstrations and says where they are."""
    report = make_demos(**compose("demos", argv))
    what = "complete already" if report.reused else f"made in {report.wall_s:.0f} s"
    print(
        f"{report.folder}: {what}, {report.num_episodes} episodes, {report.num_frames} frames, "
        f"expert success {report.expert_success_rate:.0%}, {report.assets} assets"
    )
    return 0
