"""`python -m vst_vla.scripts.lerobot_convert`: a checkpoint folder into LeRobot's form, or out of it."""

from __future__ import annotations

import sys
from pathlib import Path

from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status


def main(argv: list[str]) -> int:
    """Converts the folder `checkpoint`, whichever of the two it is, to `out`."""
    config = compose("lerobot_convert", argv)
    from vst_vla.policies.lerobot.convert import from_lerobot, to_lerobot
    from vst_vla.policies.lerobot.modeling_vst_vla import CHECKPOINT

    folder, out = Path(config["checkpoint"]), Path(config["out"])
    is_lerobots = (folder / CHECKPOINT).is_dir()
    (from_lerobot if is_lerobots else to_lerobot)(folder, out=out)
    print(f"{'vst-vla' if is_lerobots else 'LeRobot'} checkpoint: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status("lerobot_convert", lambda: main(sys.argv[1:])))
