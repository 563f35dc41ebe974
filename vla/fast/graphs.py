"""A forward pass that a GPU repeats by itself: inputs at fixed addresses, one launch for all of its kernels.

Letters in shapes: B batch, k cameras, H/W pixels, S state, C chunk, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch

from vst_vla.vla.fast.rows import Rows

WARM_UPS = 3
"""Runs before a capture, on a stream of their own: libraries choose kernels and allocate in the first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What a forward pass starts from."""

    rows: Rows
    pictures: tuple[torch.Tensor, ...]  # k of uint8 (B,H,W,3)
    state: torch.Tensor | None  # (B,S)


Forward = Callable[[Inputs], torch.Tensor]
"""Inputs on one device -> (B,C,A)."""


class FixedInputs:
    """Inputs whose memory stays where it is; others of the same shapes are copied into it.

    Args:
        like: decides the shapes.
        device: where the memory is.
    """

    def __init__(self, like: Inputs, *, device: torch.device) -> None:
        self._rows = like.rows
        self.inputs = Inputs(
            rows=_copy_of(like.rows),
            pictures=tuple(part.to(device, copy=True) for part in like.pictures),
            state=None if like.state is None else like.state.to(device, copy=True),
        )

    def take(self, given: Inputs) -> None:
        """Copies, without waiting; rows only where they are others than last time: an episode has one instruction."""
        for ours, theirs in zip(self.inputs.pictures, given.pictures, strict=True):
            ours.copy_(theirs, non_blocking=True)
        if self.inputs.state is not None and given.state is not None:
            self.inputs.state.copy_(given.state, non_blocking=True)
        if given.rows is not self._rows:
            for ours, theirs in zip(tensors(self.inputs.rows), tensors(given.rows), strict=True):
                ours.copy_(theirs, non_blocking=True)
            self._rows = given.rows


class CapturedForward:
    """`forward` on a GPU as one CUDA graph.

    Args:
        forward: launches kernels only: it neither waits for the GPU nor branches on what is in memory.
        like: inputs of the shapes that it is captured for.
        device: the GPU.
    """

    def __init__(self, forward: Forward, like: Inputs, *, device: torch.device) -> None:
        self._fixed = FixedInputs(like, device=device)
        with torch.cuda.device(device):
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    forward(self._fixed.inputs)
            torch.cuda.current_stream().wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._output = forward(self._fixed.inputs)

    def __call__(self, given: Inputs) -> torch.Tensor:
        """The output (B,C,A) on the GPU, valid until the next call."""
        self._fixed.take(given)
        self._graph.replay()
        return self._output


def tensors(rows: Rows) -> Iterator[torch.Tensor]:
    """All of them, in a fixed order."""
    for field in fields(rows):
        value = getattr(rows, field.name)
        if value is not None:
            yield from value if isinstance(value, tuple) else (value,)


def _copy_of(rows: Rows) -> Rows:
    def copied(value: Any) -> Any:
        if value is None:
            return None
        return tuple(part.clone() for part in value) if isinstance(value, tuple) else value.clone()

    return Rows(**{field.name: copied(getattr(rows, field.name)) for field in fields(rows)})
