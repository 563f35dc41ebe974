"""`python -m vst_vla.scripts.reader_speed data=FOLDER`: training samples a second beside LeRobotDataset, as JSON.

Both readers get the same dataset, batch, chunk, order and number of DataLoader workers. Each round measures each reader
once, in a process of its own with empty caches: the first epoch with the opening of the dataset before it (cold), then
later epochs (warm). Rounds alternate, so that other load on the machine meets both alike.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status
from vst_vla.vla.files import write_json

OURS, LEROBOT = "vst-vla", "lerobot"
PACKAGES = ("torch", "lerobot", "datasets", "pyarrow", "pillow", "av")


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is measured."""

    folder: str
    batch_size: int
    chunk: int
    num_workers: int
    warm_epochs: int


def main(argv: list[str]) -> int:
    """Measures, prints a line a round and writes the record."""
    config = compose("reader_speed", argv)
    load = Load(
        folder=str(Path(config["data"]).resolve()),
        **{key: config[key] for key in ("batch_size", "chunk", "num_workers", "warm_epochs")},
    )
    described, rounds = _describe(Path(load.folder)), []
    for number in range(config["rounds"]):
        rounds.append(measure_round(load, number=number))
        print(f"round {number + 1}: " + ", ".join(f"{name} {_show(rounds[-1][name])}" for name in (OURS, LEROBOT)))
    record = {"command": " ".join(["python -m vst_vla.scripts.reader_speed", *argv]), **_circumstances()}
    record |= {key: config[key] for key in config if key not in ("data", "out")}
    record |= {"dataset": described, "rounds": rounds}
    record |= {f"{kind}_ratio": times_better(rounds, kind) for kind in ("cold", "warm", "cold_cpu_ms", "warm_cpu_ms")}
    write_json(Path(config["out"]), record)
    for kind in ("cold", "warm"):
        ratio, cpu = record[f"{kind}_ratio"], record[f"{kind}_cpu_ms_ratio"]
        print(
            f"{kind}: {ratio['median']:.1f} times LeRobotDataset ({ratio['min']:.1f} to {ratio['max']:.1f}); "
            f"{cpu['median']:.1f} times by processor time"
        )
    return 0


def measure_round(load: Load, *, number: int) -> dict[str, dict[str, float]]:
    """Both readers once, each in a process of its own; the other first in every second round.

    Returns:
        By reader: samples a second in the first epoch (`cold`) and later (`warm`), and CPU ms a sample of both.
    """
    order = (OURS, LEROBOT) if number % 2 == 0 else (LEROBOT, OURS)
    return {name: _in_fresh_process(name, load) for name in order}


def _in_fresh_process(name: str, load: Load) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory(prefix="reader_speed-") as caches,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        return pool.submit(_measure, name, load, caches).result()


def _measure(name: str, load: Load, caches: str) -> dict[str, float]:
    """`cold`: opening and first epoch together; `warm`: later epochs. In samples a second, and in CPU ms a sample."""
    os.environ.update(XDG_CACHE_HOME=caches, HF_DATASETS_CACHE=f"{caches}/datasets", HF_HUB_OFFLINE="1")
    import torch

    opening = {OURS: _prepare_ours, LEROBOT: _prepare_lerobot}[name](load)
    torch.manual_seed(0)
    clocks = [_clocks()]
    dataset = opening()
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=load.batch_size,
        shuffle=True,
        num_workers=load.num_workers,
        persistent_workers=load.num_workers > 0,
    )
    for epochs in (1, load.warm_epochs):
        for _ in range(epochs):
            for _batch in loader:
                pass
        clocks.append(_clocks())
    (cold_s, cold_cpu_s), (warm_s, warm_cpu_s) = ((b[0] - a[0], b[1] - a[1]) for a, b in pairwise(clocks))
    cold, warm = len(dataset), len(dataset) * load.warm_epochs
    return {
        "cold": cold / cold_s,
        "warm": warm / warm_s,
        "cold_cpu_ms": 1e3 * cold_cpu_s / cold,
        "warm_cpu_ms": 1e3 * warm_cpu_s / warm,
    }


def _clocks() -> tuple[float, float]:
    """Seconds on the wall, and of processor time that this process and its workers have used."""
    # The operating system counts a child's time in hundredths of a second; a short epoch of our own is finer.
    times = [worker.cpu_times() for worker in psutil.Process().children(recursive=True)]
    return time.perf_counter(), time.process_time() + sum(t.user + t.system for t in times)


def _prepare_ours(load: Load) -> Callable[[], Any]:
    from vst_vla.vla.data.robot import RobotDataset

    return lambda: RobotDataset(load.folder, chunk=load.chunk)


def _prepare_lerobot(load: Load) -> Callable[[], Any]:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    from vst_vla.vla.contracts import ACTION_KEY
    from vst_vla.vla.data.layouts import read_layout

    fps = read_layout(Path(load.folder)).info["fps"]
    logging.getLogger("lerobot").setLevel(logging.ERROR)  # a page about video decoders, where there are no videos
    window = {ACTION_KEY: [step / fps for step in range(load.chunk)]}
    return lambda: LeRobotDataset("any/name", root=load.folder, delta_timestamps=window)


def times_better(rounds: Sequence[dict[str, dict[str, float]]], kind: str) -> dict[str, float]:
    """How many times better than LeRobotDataset, in each round."""
    ratios = sorted(values[OURS][kind] / values[LEROBOT][kind] for values in rounds)
    if kind.endswith("_ms"):
        ratios = sorted(1 / ratio for ratio in ratios)
    return {"median": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]}


def _show(row: dict[str, float]) -> str:
    return f"{row['cold']:.0f} cold, {row['warm']:.0f} warm"


def _circumstances() -> dict[str, Any]:
    models = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {
        "device": models[0] if models else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "unit": "samples/s",
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}},
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def _describe(folder: Path) -> dict[str, Any]:
    from vst_vla.vla.data.layouts import read_layout

    layout = read_layout(folder)
    cameras = {k: f for k, f in layout.features.items() if f["dtype"] in ("image", "video")}
    return {
        "episodes": len(layout.entries),
        "frames": sum(entry.length for entry in layout.entries),
        "cameras": {key: f"{feature['dtype']} {feature['shape']}" for key, feature in cameras.items()},
    }


if __name__ == "__main__":
    sys.exit(exit_status("reader_speed", lambda: main(sys.argv[1:])))
