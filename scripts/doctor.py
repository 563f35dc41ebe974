"""`vst-vla doctor`: checks this machine; exit code 1 when something that a run needs is missing."""

from __future__ import annotations

from pathlib import Path

from vst_vla.envs.doctor import run_checks
from vst_vla.scripts.config import compose


def main(argv: list[str]) -> int:
    """Prints one line a check as it is done. 0 when all are ok, else 1."""
    config = compose("doctor", argv)
    bad = 0
    for check in run_checks(outputs=Path(config["out"])):
        print(check, flush=True)
        bad += not check.ok
    return 1 if bad else 0
