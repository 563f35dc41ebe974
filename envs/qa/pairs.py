"""Two pictures of one moment, and what is seen in one of them or in both. Where cameras stand and look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.vla.contracts import Array, SceneState

MIN_SHARED = 2
"""Objects that both pictures must show well, so that one camera can be placed relative to the other."""
_STEEPEST = 0.35  # level part of a unit vector, below which a camera looks down too steeply to face anywhere


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two views in the order in which they are shown."""

    first: View
    second: View

    @property
    def names(self) -> list[str]:
        """The cameras' names."""
        return [self.first.name, self.second.name]

    @property
    def lens_text(self) -> str:
        """States the field of view of each."""
        first, second = (view.fovs[0] for view in (self.first, self.second))
        if abs(first - second) < 0.05:
            return f"The horizontal field of view of both pictures is {first:.1f} degrees."
        return f"The horizontal field of view of picture 1 is {first:.1f} degrees, that of picture 2 {second:.1f}."

    @property
    def has_one_lens(self) -> bool:
        """Whether both pictures were taken with the same focal length."""
        return bool(np.allclose(self.first.intrinsics, self.second.intrinsics, atol=1e-6))

    def both(self) -> list[Seen]:
        """Objects with names of their own that are clear in both pictures, as the first shows them."""
        others = {seen.number for seen in self.second.unique()}
        return [seen for seen in self.first.unique() if seen.number in others]

    def either(self) -> list[Seen]:
        """Objects with names of their own that are clear in at least one picture."""
        found = {seen.number: seen for view in (self.second, self.first) for seen in view.unique()}
        return [found[number] for number in sorted(found)]


def pairs_of(scene: SceneState) -> list[Pair]:
    """Every ordered pair of cameras that show at least `MIN_SHARED` of the same objects."""
    views = views_of(scene)
    pairs = [Pair(first=a, second=b) for a in views for b in views if a is not b]
    return [pair for pair in pairs if len(pair.both()) >= MIN_SHARED]


def position(view: View) -> Array:
    """Where a camera stands in the world, (3,) m."""
    rotation, shift = view.world_to_camera[:3, :3], view.world_to_camera[:3, 3]
    return np.asarray(-rotation.T @ shift)


def forward(view: View) -> Array:
    """The direction in the world in which a camera looks, (3,) of length 1."""
    return np.asarray(view.world_to_camera[2, :3])


def faces_somewhere(view: View) -> bool:
    """Whether a camera's direction has a level part to speak of; straight down has none."""
    return float(np.hypot(*forward(view)[:2])) >= _STEEPEST
