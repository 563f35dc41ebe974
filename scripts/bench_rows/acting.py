"""Rows of acting: pictures in host memory to actions in host memory, beside the plain paths of the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from vst_vla.scripts.bench_rows.floors import Work, flow_step_work, language_work, patches_of, tower_work
from vst_vla.scripts.bench_rows.machine import Machine
from vst_vla.scripts.bench_rows.shapes import TEXT_TOKENS, Shape, make_policy, observations
from vst_vla.scripts.bench_rows.stock import StockPath
from vst_vla.scripts.bench_rows.timing import figure, in_turns, milliseconds, times_faster
from vst_vla.vla.fast.path import FastPath
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel

Row = dict[str, Any]

FAST, PLAIN, STOCK = "fast", "plain path", "plain transformers path"
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""Difference of normalised actions from the plain path's that rounding explains, by the backbone's type."""


@dataclass(frozen=True, kw_only=True)
class Acting:
    """One row of acting.

    Attributes:
        head: its configuration.
        batch: observations in one call.
        unit: ms of a call, or chunks/s.
    """

    head: dict[str, Any]
    batch: int
    unit: str

    def __call__(self, shape: Shape, *, machine: Machine, repeats: int) -> Row:
        """Measures. Raises ValueError where the fast path's actions are not the plain path's."""
        policy = make_policy(shape, head=self.head, dtype=shape.acting_dtype)
        ways = _ways(policy, observations(shape, policy=policy, count=self.batch))
        differences = _differences(ways, tolerance=TOLERANCE[shape.acting_dtype])
        seconds = in_turns(ways, repeats=max(3, repeats // self.batch))
        floor = machine.floor_s(**vars(acting_work(policy, shape=shape, batch=self.batch)))
        show = milliseconds if self.unit == "ms" else self._rate
        row = show(seconds[FAST]) | {"floor": show([floor])["median"]}
        row["ratio"] = sorted(seconds[FAST])[len(seconds[FAST]) // 2] / floor
        beside = {name: show(seconds[name]) | {"times": times_faster(seconds, than=name, ours=FAST)} for name in ways}
        del beside[FAST]
        return row | {"batch": self.batch, "beside": beside, "differences": differences, **_described(shape)}

    def _rate(self, seconds: list[float]) -> dict[str, Any]:
        return figure(seconds, unit=self.unit, scale=lambda value: self.batch / value)


def acting_work(policy: VLAModel, *, shape: Shape, batch: int) -> Work:
    """What `batch` chunks cannot do without; the head's own layers, but for the flow's, are too small to count."""
    assert policy.spec is not None
    assert policy.head is not None
    pictures = len(policy.spec.picture_keys)
    patches = patches_of(policy.config, side=shape.image_size)
    length = (
        TEXT_TOKENS + policy.head.num_slots + pictures * patches // policy.config.vision_config.spatial_merge_size**2
    )
    work = tower_work(policy, patches=patches, pictures=pictures) + language_work(policy, length=length)
    if policy.head.name == "flow":
        one = flow_step_work(policy, length=length)
        steps = int(policy.head.steps)
        return work.times(batch) + one.times(batch).steps(steps)
    return work.times(batch)


def _ways(policy: VLAModel, given: list[dict[str, Any]]) -> dict[str, Callable[[], torch.Tensor]]:
    pipeline = InferencePipeline(policy)
    stock = StockPath(policy, pipeline=pipeline)
    fast = FastPath(policy, pipeline=pipeline)

    def plain() -> torch.Tensor:
        with torch.inference_mode():
            return policy.predict(pipeline.inputs(given)).cpu()

    return {FAST: lambda: fast.predict(given), PLAIN: plain, STOCK: lambda: stock.predict(given)}


def _differences(ways: dict[str, Callable[[], torch.Tensor]], *, tolerance: float) -> dict[str, float]:
    """The largest from the plain path's actions; the fast path's may be twice transformers' where both only round."""
    expected = ways[PLAIN]()
    found = {name: float((ways[name]() - expected).abs().max()) for name in (FAST, STOCK)}
    most = max(tolerance, 2 * found[STOCK])
    if not found[FAST] <= most:
        raise ValueError(
            f"actions of the fast path differ by {found[FAST]:.2g} from the plain path's, at most {most:g}: a fault of "
            "this package"
        )
    return found


def _described(shape: Shape) -> dict[str, Any]:
    return {
        "shape": shape.name,
        "image_size": shape.image_size,
        "picture": shape.picture,
        "text_tokens": TEXT_TOKENS,
        "dtype": str(shape.acting_dtype).removeprefix("torch."),
    }
