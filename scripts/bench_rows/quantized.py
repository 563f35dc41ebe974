"""Rows of eight-bit weights: how long acting takes with them, how far it leads, and what they take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from vst_vla.scripts.bench_rows.acting import Row, acting_work
from vst_vla.scripts.bench_rows.machine import Machine
from vst_vla.scripts.bench_rows.shapes import Shape, make_policy, observations
from vst_vla.scripts.bench_rows.timing import in_turns, milliseconds, times_faster
from vst_vla.vla.fast.path import FastPath
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.quantize import block_bytes, check_quantization, quantize

WHOLE = "weights as they are"


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """One row: an observation through the fast path, beside the same weights unquantised, in turns.

    Attributes:
        kind: one of `quantize.QUANTIZATIONS`.
    """

    kind: str

    def __call__(self, shape: Shape, *, machine: Machine, repeats: int) -> Row:
        """Measures; pending where torchao is missing or the device does not support it."""
        try:
            check_quantization(self.kind, device=torch.device(shape.device))
        except ValueError as error:
            return {"pending": str(error)}
        policies = {
            name: make_policy(shape, head={"name": "parallel"}, dtype=shape.acting_dtype) for name in self.names
        }
        floor = acting_work(policies[WHOLE], shape=shape, batch=1)
        quantize(policies[self.kind].vlm, self.kind)
        sizes = {name: block_bytes(policy.vlm) for name, policy in policies.items()}
        given = observations(shape, policy=policies[WHOLE], count=1)
        paths = {name: FastPath(policy, pipeline=InferencePipeline(policy)) for name, policy in policies.items()}
        exact, found = (paths[name].predict(given) for name in (WHOLE, self.kind))
        seconds = in_turns({name: partial(path.predict, given) for name, path in paths.items()}, repeats=repeats)
        row: dict[str, Any] = milliseconds(seconds[self.kind])
        saved = sizes[WHOLE] - sizes[self.kind]
        row["floor"] = machine.floor_s(flops=floor.flops, num_bytes=floor.num_bytes - saved) * 1e3
        row["ratio"] = row["median"] / row["floor"]
        beside = milliseconds(seconds[WHOLE]) | {"times": times_faster(seconds, than=WHOLE, ours=self.kind)}
        difference = float((found - exact).abs().max() / (exact.max() - exact.min()))
        return row | {"beside": {WHOLE: beside}, "difference_of_range": difference, "bytes_of_blocks": sizes}

    @property
    def names(self) -> tuple[str, str]:
        """Of the two ways, ours first."""
        return self.kind, WHOLE
