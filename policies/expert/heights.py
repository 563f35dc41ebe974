"""The scene seen from above: the highest and the lowest surface over each point of a grid. World axes, metres.

Whatever comes straight down (fingers, palm, an object that is put down) meets the highest surface first, so this map is
all that grasping from above and putting down need. Letters: X/Y cells along the world's x and y, N any shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from vst_vla.policies.expert.geometry import Box
from vst_vla.vla.contracts import Array

PITCH = 0.004
"""Side of a cell in m, unless told otherwise."""
_LEVEL = 1e-9  # share of a box's axis along the vertical below which the axis counts as level


@dataclass(frozen=True, kw_only=True, eq=False)
class Heights:
    """A grid over a part of the scene."""

    low: Array  # (2,) m, middle of the first cell
    top: Array  # (X,Y) m, the highest surface; -inf over nothing
    underside: Array  # (X,Y) m, the lowest surface; inf over nothing
    pitch: float = PITCH  # m, side of a cell

    def top_at(self, points: Array) -> Array:
        """The highest surface (N) at points (N,2); -inf over nothing and outside the grid."""
        cells = np.rint((points - self.low) / self.pitch).astype(int)
        inside: Array = np.all((cells >= 0) & (cells < self.top.shape), axis=-1)
        x, y = np.moveaxis(np.where(inside[..., None], cells, 0), -1, 0)
        return np.where(inside, self.top[x, y], -np.inf)

    def with_top_of(self, other: Heights) -> Heights:
        """The grid with another one's highest surface added, as far as that lies within it."""
        top = self.top.copy()
        cells = np.rint((other.cells() - self.low) / self.pitch).astype(int)
        inside = np.all((cells >= 0) & (cells < top.shape), axis=-1)
        np.maximum.at(top, tuple(cells[inside].T), other.top[np.isfinite(other.top)][inside])
        return replace(self, top=top)

    def widened(self, radius: float) -> Heights:
        """The grid whose top is the highest surface within `radius` m beside each cell."""
        reach = int(radius / self.pitch + 1e-6)
        padded = np.pad(self.top, reach, constant_values=-np.inf)
        top = np.full_like(self.top, -np.inf)
        x, y = self.top.shape
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                if i * i + j * j <= (reach + 0.5) ** 2:
                    np.maximum(top, padded[reach + i : reach + i + x, reach + j : reach + j + y], out=top)
        return replace(self, top=top)

    def highest_between(self, start: Array, end: Array, *, width: float) -> float:
        """The highest surface within `width` m of the straight way from `start` (2,) to `end` (2,).

        Only beside the way, not before or behind it; around `start` when both are the same.
        """
        length = float(np.linalg.norm(end - start))
        along = (end - start) / length if length > 0 else np.array([1.0, 0.0])
        ends = (0.0, length) if length > 0 else (-width, width)
        ways = np.linspace(*ends, 2 + int((ends[1] - ends[0]) / (2 * self.pitch)))
        sides = np.linspace(-width, width, 2 + int(width / self.pitch))
        across = np.array([-along[1], along[0]])
        return float(self.top_at(start + ways[:, None, None] * along + sides[None, :, None] * across).max())

    def cells(self, *, step: int = 1) -> Array:
        """Middles (P,2) of the cells over something, every `step`-th along each axis."""
        return np.asarray(self.low + self.pitch * step * np.argwhere(np.isfinite(self.top[::step, ::step])))

    def undersides(self, *, step: int = 1) -> Array:
        """The lowest surface (P,) over each of `cells`."""
        return self.underside[::step, ::step][np.isfinite(self.top[::step, ::step])]


def heights(boxes: Iterable[Box], *, low: Array, high: Array, pitch: float = PITCH) -> Heights:
    """The grid of boxes over the rectangle from `low` (2,) to `high` (2,)."""
    shape = tuple(np.ceil((high - low) / pitch).astype(int) + 1)
    grid = Heights(low=np.array(low), top=np.full(shape, -np.inf), underside=np.full(shape, np.inf), pitch=pitch)
    for box in boxes:
        _draw(grid, box)
    return grid


def heights_of(boxes: Iterable[Box], *, pitch: float = PITCH) -> Heights:
    """The grid just around boxes."""
    kept = list(boxes)
    reach = [np.abs(box.rotation[:2]) @ box.half for box in kept]
    low = np.min([box.center[:2] - r for box, r in zip(kept, reach, strict=True)], axis=0)
    high = np.max([box.center[:2] + r for box, r in zip(kept, reach, strict=True)], axis=0)
    return heights(kept, low=low - pitch, high=high + pitch, pitch=pitch)


def _draw(grid: Heights, box: Box) -> None:
    """Raises the grid to the box: where a vertical line through a cell enters and leaves it."""
    reach = np.abs(box.rotation[:2]) @ box.half + grid.pitch
    first = np.clip(np.floor((box.center[:2] - reach - grid.low) / grid.pitch).astype(int), 0, grid.top.shape)
    last = np.clip(np.ceil((box.center[:2] + reach - grid.low) / grid.pitch).astype(int) + 1, 0, grid.top.shape)
    if (last <= first).any():
        return
    window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    x, y = (grid.low[i] + grid.pitch * np.arange(first[i], last[i]) - box.center[i] for i in range(2))
    enter: Array = np.full((len(x), len(y)), -np.inf)
    leave: Array = -enter
    for axis, half in zip(box.rotation.T, box.half, strict=True):
        beside = x[:, None] * axis[0] + y[None, :] * axis[1]
        slack = half + grid.pitch / 2 * float(
            np.hypot(axis[0], axis[1])
        )  # a thin wall still fills the cells it crosses
        if abs(axis[2]) < _LEVEL:
            leave = np.where(np.abs(beside) > slack, -np.inf, leave)
            continue
        middle, span = -beside / axis[2], slack / abs(axis[2])
        enter, leave = np.maximum(enter, middle - span), np.minimum(leave, middle + span)
    met = leave >= enter
    grid.top[window] = np.where(met, np.maximum(grid.top[window], box.center[2] + leave), grid.top[window])
    grid.underside[window] = np.where(
        met, np.minimum(grid.underside[window], box.center[2] + enter), grid.underside[window]
    )
