"""Pictures to patches without an image processor: the same numbers, on whatever device the picture lies.

`cut` is PIL's bilinear resize of a centre crop to the bit, in integers, for a device other than the CPU; on the CPU,
PIL itself is faster.

Letters in shapes: N pictures, H/W pixels, S side in pixels of what the model sees, p patches of it, t taps of a filter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from transformers import Qwen2_5_VLProcessor

from vst_vla.vla.fast.tower import View
from vst_vla.vla.transforms import CropResize

PRECISION = 22
"""Bits behind the point of PIL's filter weights for 8-bit pictures: 32 less 8 of the pixel less 2 to spare."""


class Patches:
    """Normalised patches in the order of a view, as Qwen's image processor makes them, of one frame.

    The processor gives a still picture two equal frames; the tower's weights for both are added up instead.
    """

    def __init__(self, processor: Qwen2_5_VLProcessor, *, device: torch.device) -> None:
        rules = processor.image_processor
        self._side, self._merge = int(rules.patch_size), int(rules.merge_size)
        # As the processor fuses them: 1 / 255 goes into mean and deviation.
        scale = 1.0 / rules.rescale_factor
        self._mean = (torch.tensor(rules.image_mean) * scale)[:, None, None].to(device)
        self._deviation = (torch.tensor(rules.image_std) * scale)[:, None, None].to(device)

    def __call__(self, pictures: torch.Tensor, view: View) -> torch.Tensor:
        """uint8 (N,S,S,3) -> float32 (N, p, 3*14*14)."""
        unit, merge = self._side, self._merge
        cells = pictures.unflatten(2, (-1, merge, unit)).unflatten(1, (-1, merge, unit))  # N row m y column m x c
        tokens = cells.permute(0, 1, 4, 2, 5, 7, 3, 6).flatten(1, 2)  # (N, V, m, m, c, y, x), moved as bytes
        if view.order is not None:
            tokens = tokens[:, view.order]
        values = tokens.float().sub_(self._mean).div_(self._deviation)
        return values.flatten(4).flatten(1, 3)


@dataclass(frozen=True, kw_only=True, eq=False)
class Filter:
    """One axis of a resize: which source pixels make an output pixel, and how much each counts."""

    taps: torch.Tensor  # (S,t) indices
    weights: torch.Tensor  # (S,t) int32, of sum 2 ** PRECISION


Filters = tuple[Filter, Filter]
"""Along rows and along columns of a picture."""
Sizes = tuple[tuple[int, int], ...]
"""(H,W) of each camera's picture."""


def make_filters(crop: CropResize, sizes: Sizes, *, device: torch.device) -> tuple[Filters, ...]:
    """What `crop` does to pictures of these sizes when acting."""
    made = []
    for height, width in sizes:
        left, top, side = crop.centre(height, width)
        across = make_filter(source=width, start=left, length=side, size=crop.size, device=device)
        made.append((across, make_filter(source=height, start=top, length=side, size=crop.size, device=device)))
    return tuple(made)


def make_filter(*, source: int, start: float, length: float, size: int, device: torch.device) -> Filter:
    """PIL's bilinear filter from `length` of `source` pixels, from `start` on, to `size` pixels."""
    low, high = np.float32(start), np.float32(start + length)
    scale = float(high - low) / size
    support = max(scale, 1.0)
    centres = float(low) + (np.arange(size) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + support + 0.5).astype(np.int64), source)
    taps = first[:, None] + np.arange(int(np.ceil(support)) * 2 + 1)
    weights = np.maximum(1 - np.abs((taps - centres[:, None] + 0.5) / support), 0) * (taps < last[:, None])
    whole = np.floor(weights / weights.sum(1, keepdims=True) * 2**PRECISION + 0.5)
    return Filter(
        taps=torch.from_numpy(np.minimum(taps, source - 1)).to(device),
        weights=torch.from_numpy(whole.astype(np.int32)).to(device),
    )


def cut(pictures: torch.Tensor, *, by: Filters) -> torch.Tensor:
    """uint8 (N,H,W,3) -> uint8 (N,S,S,3), along rows first, rounded to bytes after each axis as PIL does."""
    across, down = by
    return _along(_along(pictures, across, axis=2), down, axis=1)


def _along(pictures: torch.Tensor, by: Filter, *, axis: int) -> torch.Tensor:
    """The taps one after another: integers have no matrix product on a GPU, and there are three to five taps."""
    shape = [-1 if dim == axis else 1 for dim in range(4)]
    total = torch.full((), 1 << (PRECISION - 1), dtype=torch.int32, device=pictures.device)
    for indices, weights in zip(by.taps.unbind(1), by.weights.unbind(1), strict=True):
        total = total + pictures.index_select(axis, indices).int() * weights.view(shape)
    return (total >> PRECISION).clamp(0, 255).to(torch.uint8)
