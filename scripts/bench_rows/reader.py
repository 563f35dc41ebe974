"""The row of the data reader, beside LeRobotDataset on a dataset that is made up here; `reader_speed` measures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vst_vla.scripts.bench_rows.acting import Row
from vst_vla.scripts.bench_rows.machine import Machine
from vst_vla.scripts.bench_rows.timing import Figure, figure
from vst_vla.scripts.reader_speed import LEROBOT, OURS, Load, measure_round, times_better
from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset
from vst_vla.vla.data.records import encode_png

EPISODES, FRAMES, SIDE = 3, 24, 256
GRAIN = 8
"""Pixels of a patch of one colour: PNG files of about a rendered picture's size."""
ROUNDS = 3


def reader_row(machine: Machine, repeats: int) -> Row:
    """Training samples a second, two cameras of 256 px, one process.

    Of later epochs: so small a dataset spends its first one on being opened; docs/results/reader-cpu.json has a larger.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        names = {STATE_KEY: LIBERO_STATE.names, ACTION_KEY: LIBERO_ACTION.names}
        write_dataset(Path(folder, "data"), _episodes(), fps=20, robot_type="panda", names=names)
        load = Load(folder=str(Path(folder, "data")), batch_size=24, chunk=8, num_workers=0, warm_epochs=2)
        rounds = [measure_round(load, number=number) for number in range(min(ROUNDS, repeats))]
    ours, theirs = ([1 / values[name]["warm"] for values in rounds] for name in (OURS, LEROBOT))
    other = _rate(theirs) | {"times": times_better(rounds, "warm")["median"]}
    return _rate(ours) | {"beside": {"LeRobotDataset": other}, "frames": EPISODES * FRAMES, "picture": SIDE}


def _rate(seconds: list[float]) -> Figure:
    return figure(seconds, unit="samples/s", scale=lambda value: 1 / value)


def _episodes() -> Iterator[Episode]:
    rng = np.random.default_rng(0)
    for number in range(EPISODES):
        vectors = {
            STATE_KEY: rng.normal(size=(FRAMES, LIBERO_STATE.dim)).astype(np.float32),
            ACTION_KEY: rng.uniform(-1, 1, (FRAMES, LIBERO_ACTION.dim)).astype(np.float32),
        }
        images = {key: [_picture(rng) for _ in range(FRAMES)] for key in IMAGE_KEYS}
        yield Episode(task=f"task {number}", vectors=vectors, images=images)


def _picture(rng: np.random.Generator) -> bytes:
    patches = rng.integers(0, 200, (SIDE // GRAIN, SIDE // GRAIN, 3), dtype=np.uint8)
    grain = rng.integers(0, 8, (SIDE, SIDE, 3), dtype=np.uint8)
    return encode_png(patches.repeat(GRAIN, 0).repeat(GRAIN, 1) + grain)
