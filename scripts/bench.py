"""`make bench`: what this machine can do, and what the learner does on it; writes docs/results/bench-<device>.json.

Every row has what was measured, the floor that follows from the machine's own rates (docs/performance.md), and their
ratio; a fast path is compared with the plain one before it is timed, and timed in turns with it. Random weights,
made-up pictures: no simulator, no network. A row that the machine cannot measure says pending.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from vst_vla.scripts.bench_rows.table import measure
from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status
from vst_vla.vla.files import write_json

CPU_INFO = Path("/proc/cpuinfo")


def main(argv: list[str]) -> int:
    """Measures every row, prints a table and writes the record; with `only=NAME` one row, and no record."""
    config = compose("bench", argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = measure(repeats=config["repeats"], only=config["only"])
    print(f"{'row':<30}{'measured':>12}{'floor':>12} {'unit':<10}{'x floor':>8}  x faster than")
    for row in rows:
        print(_line(row))
    if config["only"] is None:  # a record is of one run
        path = Path(config["out"]) / f"bench-{device}.json"
        command = " ".join(["python -m vst_vla.scripts.bench", *argv]) if argv else "make bench"
        record = {"command": command, "device": _name(device), "threads": torch.get_num_threads(), "rows": rows}
        write_json(path, record)
        print(f"record: {path}")
    return 0


def _line(row: dict[str, Any]) -> str:
    if "pending" in row:
        return f"{row['name']:<30}{'pending':>12}  {row['pending']}"
    floor, ratio = (f"{row[key]:.3g}" if key in row else "" for key in ("floor", "ratio"))
    beside = ", ".join(f"{name} {other['times']:.1f}" for name, other in row.get("beside", {}).items())
    return f"{row['name']:<30}{row['median']:>12.3f}{floor:>12} {row['unit']:<10}{ratio:>8}  {beside}".rstrip()


def _name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else "unknown"


if __name__ == "__main__":
    sys.exit(exit_status("bench", lambda: main(sys.argv[1:])))
