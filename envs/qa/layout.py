"""One map that joins what several pictures of a moment show: seen from above, in the frame of the first camera.

x runs to the right of the first camera and y ahead of it, both level, in metres; the camera is the origin. Places are
rounded to centimetres once, here, so that everything that is reckoned from a map agrees with what the map says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vst_vla.envs.qa.directions import level_length
from vst_vla.envs.qa.pairs import Pair, faces_somewhere, forward, position
from vst_vla.envs.qa.view import View, view_of
from vst_vla.envs.qa.wording import joined
from vst_vla.vla.contracts import Array, SceneState

MOST_OBJECTS = 6
"""Objects on a map, those that a question is about included."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Objects and cameras on one map. The first camera must face somewhere (`faces_somewhere`)."""

    views: tuple[View, ...]  # in the order in which their pictures are shown
    numbers: tuple[int, ...]  # of the objects in the scene

    @property
    def scene(self) -> SceneState:
        """What the map is of."""
        return self.views[0].scene

    @property
    def axes(self) -> Array:
        """Right and ahead as level unit vectors of the world, (2,2)."""
        x, y = forward(self.views[0])[:2] / level_length(forward(self.views[0]))
        return np.array([[y, -x], [x, y]])

    def on_map(self, points: Array) -> Array:
        """Points (..., 3) of the world in m -> the map's (..., 2), unrounded."""
        return np.asarray((points - position(self.views[0]))[..., :2] @ self.axes.T)

    def spot(self, number: int) -> Array:
        """Where an object's box centre is, (2,) m in whole centimetres."""
        return rounded(self.on_map(self.scene.poses[number, :3, 3]))

    def eye(self, place: int) -> Array:
        """Where a camera is, (2,) m in whole centimetres."""
        return rounded(self.on_map(position(self.views[place])))

    def heading(self, place: int) -> Array:
        """Direction of view in the map's axes and upward, (3,) of length 1."""
        direction = forward(self.views[place])
        return np.array([*(self.axes @ direction[:2]), direction[2]])

    def rise(self, place: int) -> float:
        """How much higher a camera is than the first, m in whole centimetres."""
        return float(rounded(position(self.views[place])[2] - position(self.views[0])[2]))

    def name(self, number: int) -> str:
        """An object in words."""
        return f"the {self.scene.categories[number]}"

    def number(self, name: str) -> int:
        """The object with an instance name."""
        return self.scene.names.index(name)

    def camera_name(self, place: int) -> str:
        """A camera in words."""
        return "the camera" if len(self.views) == 1 else f"the camera of picture {place + 1}"

    @property
    def text(self) -> str:
        """Every place on the map in words."""
        places = [f"{self.name(number)} at {point_text(self.spot(number))}" for number in self.numbers]
        places += [f"{self.camera_name(place)} at {point_text(self.eye(place))}" for place in self._other_eyes]
        return joined(places)

    @property
    def _other_eyes(self) -> range:
        return range(1, len(self.views))

    @property
    def about(self) -> dict[str, Any]:
        """What `layout_of` needs to draw the same map again."""
        return {
            "cameras": [view.name for view in self.views],
            "mapped": [self.scene.names[number] for number in self.numbers],
        }


def chart(
    scene: SceneState, *, cameras: Sequence[str], needed: Sequence[str], rng: np.random.Generator
) -> Layout | None:
    """A map of one or two pictures; None when the first looks down too steeply to have an ahead.

    Args:
        scene: the moment.
        cameras: whose pictures are shown, one or two.
        needed: instance names of objects that the map must hold; others that the pictures show clearly fill it up,
            those that both show first.
        rng: of the choice and the order.
    """
    views = _views(scene, cameras)
    if not faces_somewhere(views[0]):
        return None
    pair = Pair(first=views[0], second=views[-1])
    required = [scene.names.index(name) for name in needed]
    shared = [seen.number for seen in pair.both() if seen.number not in required]
    others = [seen.number for seen in pair.either() if seen.number not in (*required, *shared)]
    numbers = [*required, *_shuffled(shared, rng), *_shuffled(others, rng)][: max(MOST_OBJECTS, len(required))]
    return Layout(views=views, numbers=tuple(_shuffled(numbers, rng)))


def layout_of(about: Mapping[str, Any], *, scene: SceneState) -> Layout:
    """The map that an item's `about` tells of."""
    views = _views(scene, about["cameras"])
    return Layout(views=views, numbers=tuple(scene.names.index(name) for name in about["mapped"]))


def rounded(values: Array | float) -> Array:
    """Metres to whole centimetres, never -0."""
    return np.asarray(np.round(values, 2) + 0.0)


def point_text(point: Array) -> str:
    """A place or a direction as (0.12, -0.40)."""
    return f"({', '.join(f'{value:.2f}' for value in rounded(point))})"


def _views(scene: SceneState, names: Sequence[str]) -> tuple[View, ...]:
    return tuple(view_of(scene, camera=scene.cameras.index(name)) for name in names)


def _shuffled(numbers: Sequence[int], rng: np.random.Generator) -> list[int]:
    return [numbers[int(place)] for place in rng.permutation(len(numbers))]
