"""`vst-vla doctor`: checks this machine; exit code 1 when something that a run needs is missing."""

from __future__ import annotations

import argparse
from pathlib import Path

from vst_vla.envs.doctor import run_checks


def main(argv: list[str]) -> int:
    """Prints one line a check as it is done. 0 when all are ok, else 1."""
    parser = argparse.ArgumentParser(prog="vst-vla doctor", description=__doc__)
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where your runs will be written")
    options = parser.parse_args(argv)
    bad = 0
    for check in run_checks(outputs=options.outputs):
        print(check, flush=True)
        bad += not check.ok
    return 1 if bad else 0
