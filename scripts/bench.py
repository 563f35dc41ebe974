"""`make bench`: what this machine can do, and what the learner does on it; writes docs/results/bench-<device>.json.

Tiny shape, random weights, made-up pictures: no simulator, no network. Medians over repeated runs after a warm-up.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vst_vla.scripts.config import compose
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import (
    ACTION_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    STATE_KEY,
    TASK_KEY,
    Observation,
    unknown_name,
)
from vst_vla.vla.files import write_json
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.spec import ModelSpec

Row = dict[str, Any]
CHUNK = 8


def main(argv: list[str]) -> int:
    """Runs every row (or `only=NAME`), prints a table and writes the record."""
    config = compose("bench", argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = measure(device, repeats=config["repeats"], only=config["only"])
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    path = Path(config["out"]) / f"bench-{device}.json"
    record = {"command": "make bench", "device": name, "threads": torch.get_num_threads(), "rows": rows}
    write_json(path, record)
    for row in rows:
        print(f"{row['name']:<28} {row['median']:>10.3f} {row['unit']}")
    print(f"record: {path}")
    return 0


def measure(device: str, *, repeats: int, only: str | None) -> list[Row]:
    """All rows, or the one named. Raises ValueError for an unknown name."""
    made = _policy(device)
    table: dict[str, Callable[[], Row]] = {
        "matrix_rate_fp32": lambda: _matrix_rate(device, repeats=repeats),
        "copy_bandwidth": lambda: _copy_bandwidth(device, repeats=repeats),
        "policy_latency_batch_1": lambda: _latency(made, batch=1, repeats=repeats),
        "policy_latency_batch_8": lambda: _latency(made, batch=8, repeats=repeats),
        "policy_training_step_24": lambda: _training_step(made, rows=24, repeats=max(3, repeats // 10)),
    }
    if only is not None and only not in table:
        raise unknown_name("bench row", only, table)
    return [{"name": name} | run() for name, run in table.items() if only in (None, name)]


def _timed(run: Callable[[], object], *, repeats: int) -> list[float]:
    """Seconds of each run, after two that do not count."""
    seconds = []
    for number in range(repeats + 2):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if number >= 2:
            seconds.append(time.perf_counter() - start)
    return seconds


def _row(seconds: list[float], *, unit: str, scale: Callable[[float], float]) -> Row:
    values = sorted(scale(s) for s in seconds)
    return {"median": statistics.median(values), "min": values[0], "max": values[-1], "unit": unit, "runs": len(values)}


def _matrix_rate(device: str, *, repeats: int) -> Row:
    a = torch.randn(1024, 1024, device=device)
    seconds = _timed(lambda: a @ a, repeats=repeats)
    return _row(seconds, unit="GFLOP/s", scale=lambda s: 2 * 1024**3 / s / 1e9)


def _copy_bandwidth(device: str, *, repeats: int) -> Row:
    source = torch.ones(64 * 2**20 // 4, device=device)
    target = torch.empty_like(source)
    seconds = _timed(lambda: target.copy_(source), repeats=repeats)
    return _row(seconds, unit="GB/s", scale=lambda s: 2 * source.nbytes / s / 1e9)


def _latency(model: VLAModel, *, batch: int, repeats: int) -> Row:
    """Pictures in host memory to actions in host memory."""
    pipeline, observations = InferencePipeline(model), [_observation(i) for i in range(batch)]

    def act() -> None:
        with torch.inference_mode():
            pipeline.actions(model.predict(pipeline.inputs(observations)))

    return _row(_timed(act, repeats=repeats), unit="ms", scale=lambda s: s * 1e3)


def _training_step(model: VLAModel, *, rows: int, repeats: int) -> Row:
    batch = InferencePipeline(model).inputs([_observation(i) for i in range(rows)])
    batch = {key: value.to(model.device) for key, value in batch.items()}
    chunk = (rows, CHUNK, LIBERO_ACTION.dim)
    batch |= {"actions": torch.zeros(chunk, device=model.device)}
    batch |= {"action_is_pad": torch.zeros(chunk[:2], dtype=torch.bool, device=model.device)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        model(**batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return _row(_timed(step, repeats=repeats), unit="ms", scale=lambda s: s * 1e3)


def _policy(device: str) -> VLAModel:
    def feature(dim: int) -> FeatureStats:
        zero, one = (0.0,) * dim, (1.0,) * dim
        return FeatureStats(mean=zero, std=one, min=(-1.0,) * dim, max=one, q01=(-1.0,) * dim, q99=one)

    stats = NormStats({ACTION_KEY: feature(LIBERO_ACTION.dim), STATE_KEY: feature(LIBERO_STATE.dim)})
    spec = ModelSpec(head={"name": "parallel", "chunk": CHUNK}, crop=0.94)
    return VLAModel(load_backbone("tiny"), spec=spec, norm_stats=stats).to(torch.device(device))


def _observation(seed: int) -> Observation:
    rng = np.random.default_rng(seed)
    pictures = {key: rng.integers(0, 256, (128, 128, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    state = rng.normal(size=LIBERO_STATE.dim).astype(np.float32)
    return {**pictures, STATE_KEY: state, TASK_KEY: "pick up the milk and place it in the basket"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
