"""Questions a second and memory of `vst-vla qa` over its default mixture, at a number of items and at twice that.

    python tests/bench/qa_speed.py --items 10000 --out docs/results/qa_speed.json

Each run is the verb itself in a process of its own, into a folder that is removed afterwards: starting, building
scenes, playing episodes, drawing, encoding and writing all count. Processor time is that of all processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vst_vla.scripts.memory import PeakMemory
from vst_vla.vla.files import write_json


def main(argv: Sequence[str]) -> int:
    """Measures and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10000, help="of the first run; the second makes twice as many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--overrides", nargs="*", default=[], help="further key=value of vst-vla qa")
    parser.add_argument("--out", default="docs/results/qa_speed.json")
    chosen = parser.parse_args(argv)
    runs = [measured(chosen, num_items=chosen.items * times) for times in (1, 2)]
    record = {
        "command": " ".join(["python tests/bench/qa_speed.py", *argv]),
        "what": "vst-vla qa, default mixture; items/s over the whole run, start included",
        "cores": os.cpu_count(),
        "workers": chosen.workers,
        "runs": runs,
        "marginal_items_per_s": round(chosen.items / (runs[1]["seconds"] - runs[0]["seconds"]), 1),
        "memory_ratio": round(runs[1]["peak_gib"] / runs[0]["peak_gib"], 3),
    }
    write_json(Path(chosen.out), record)
    print(Path(chosen.out).read_text())
    return 0


def measured(chosen: argparse.Namespace, *, num_items: int) -> dict[str, Any]:
    """One run of the verb."""
    load, start, before = os.getloadavg()[0], time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(prefix="qa-speed-") as folder, PeakMemory() as memory:
        settings = [f"suite={chosen.suite}", f"num_items={num_items}", f"num_workers={chosen.workers}", "seed=0"]
        command = [sys.executable, "-m", "vst_vla.scripts.cli", "qa", f"out={folder}/qa", *settings, *chosen.overrides]
        subprocess.run(command, check=True)
        seconds = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        manifest = json.loads(Path(folder, "qa", "manifest.json").read_text())
        size = sum(path.stat().st_size for path in Path(folder, "qa").iterdir())
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "items": manifest["num_items"],
        "assets": manifest["assets"],
        "counts": manifest["counts"],
        "seconds": round(seconds, 1),
        "items_per_s": round(num_items / seconds, 1),
        "items_per_cpu_s": round(num_items / processor, 1),
        "peak_gib": round(memory.peak_gib, 3),
        "median_gib_of_each_eighth": [round(part, 3) for part in memory.medians_gib(8)],
        "bytes_per_item": round(size / num_items),
        "load_average_before": round(load, 2),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
