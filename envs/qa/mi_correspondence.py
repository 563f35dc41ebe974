"""Correspondence: which numbered point of the second picture is the circled point of the first.

The circled point is found in the second picture from its depth, and asked about only if it can be seen there too: on
the same part of the same object, at the depth at which it must lie (`MAX_DEPTH_ERROR`). The other numbered points lie
on the same object or on others, each at least `min_gap` away in space from the circled point, and all of them at least
`MIN_SPREAD` of the picture's width from each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw

from vst_vla.envs.geometry import apply, invert_rigid, project
from vst_vla.envs.qa.base import PICTURES, Mark, QAItem
from vst_vla.envs.qa.marks import COLOURS, draw_marks
from vst_vla.envs.qa.pairs import Pair, pairs_of
from vst_vla.envs.qa.view import Seen, View
from vst_vla.envs.qa.wording import choose
from vst_vla.vla.contracts import Array, SceneState

NUM_POINTS = 4
MAX_DEPTH_ERROR = 0.003
"""Metres between the depth at which a point must lie and the depth that the second picture shows there."""
MIN_SPREAD = 0.12
_RING = "red"
_TRIES = 30

_OPTIONS = ", ".join(f"point-{number}" for number in range(1, NUM_POINTS + 1))
_QUESTIONS = (
    f"Which of {_OPTIONS} in picture 2 is the circled point of picture 1?",
    "Which numbered point in picture 2 is the circled point of picture 1?",
    "A point is circled in red in picture 1. Find the same spot in picture 2 among the numbered points.",
    "Both pictures show one scene. Which point of picture 2 marks the place circled in picture 1?",
    "Match the red circle of picture 1 with one of the numbered points of picture 2.",
)


@dataclass(frozen=True, kw_only=True)
class Correspondence:
    """Asks for the same point in another camera's picture; the answer is "point-N".

    Args:
        short_prompt: the plainest wording, without saying how to answer.
        min_gap: m between the circled point and what the wrong points show.
        min_visible: visible fraction below which an object carries no point.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "mi_correspondence"
    level: ClassVar[str] = "L0"

    short_prompt: bool = False
    min_gap: float = 0.03
    min_visible: float = 0.4
    min_pixels: int = 60

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no two cameras see the same points."""
        pairs = pairs_of(scene)
        items = [self._item(pairs[int(rng.integers(len(pairs)))], rng) for _ in range(count if pairs else 0)]
        return [item for item in items if item is not None]

    def _item(self, pair: Pair, rng: np.random.Generator) -> QAItem | None:
        shown = {seen.number for seen in self._objects(pair.second)}
        objects = [seen for seen in self._objects(pair.first) if seen.number in shown]
        match = next((m for m in self._matches(pair, objects, rng) if m is not None), None)
        if match is None:
            return None
        source, target, name = match
        others = self._others(pair.second, target, name, rng)
        if len(others) < NUM_POINTS - 1:
            return None
        place = int(rng.integers(NUM_POINTS))
        spots = [*others[:place], target, *others[place:]]
        numbered = tuple(Mark(str(n), *spot, image=1) for n, spot in enumerate(spots, start=1))
        question = choose(_QUESTIONS, rng=rng, short=self.short_prompt)
        how = "" if self.short_prompt else " Answer as point-N, where N is its number."
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=f"{question}{how}",
            answer=f"point-{place + 1}",
            images=(draw_ring(pair.first.image, spot=source), draw_marks(pair.second.image, marks=numbered)),
            marks=(Mark("circle", *source), *numbered),
            about={"cameras": pair.names, "objects": [name]},
        )

    def _objects(self, view: View) -> list[Seen]:
        enough = (view.scene.visible[view.camera] >= self.min_visible) & (view.pixels >= self.min_pixels)
        return [seen for seen in view.seen if enough[seen.number] and not seen.is_part]

    def _matches(
        self, pair: Pair, objects: Sequence[Seen], rng: np.random.Generator
    ) -> Iterable[tuple[tuple[int, int], tuple[int, int], str] | None]:
        """Pixels of one point in both pictures and its object's name; None for tries that fail."""
        for _ in range(_TRIES if objects else 0):
            seen = objects[int(rng.integers(len(objects)))]
            source = seen.spot(rng)
            target = None if source is None else same_place(pair, spot=source)
            yield None if source is None or target is None else (source, target, seen.name)

    def _others(
        self, view: View, target: tuple[int, int], name: str, rng: np.random.Generator
    ) -> list[tuple[int, int]]:
        """Wrong points: every other one on the same object while that has room, the rest anywhere."""
        objects = self._objects(view)
        own = [seen for seen in objects if seen.name == name]
        truth, taken = place_at(view, spot=target), [target]
        for attempt in range(3 * _TRIES):
            group = own if attempt % 2 else objects
            spot = group[int(rng.integers(len(group)))].spot(rng)
            if spot is None or len(taken) == NUM_POINTS:
                continue
            apart = min(np.hypot(spot[0] - row, spot[1] - column) for row, column in taken)
            if apart >= MIN_SPREAD * view.width and np.linalg.norm(place_at(view, spot=spot) - truth) >= self.min_gap:
                taken.append(spot)
        return [taken[int(i)] for i in 1 + rng.permutation(len(taken) - 1)]


def place_at(view: View, *, spot: tuple[int, int]) -> Array:
    """What a pixel (row, column) shows: a place (3,) in the world, m."""
    row, column = spot
    ray = np.linalg.inv(view.intrinsics) @ np.array([column + 0.5, row + 0.5, 1.0])
    return apply(invert_rigid(view.world_to_camera), points=ray * float(view.depth[row, column]))


def same_place(pair: Pair, *, spot: tuple[int, int]) -> tuple[int, int] | None:
    """The second picture's pixel (row, column) that shows what the first one's does; None when that is not seen."""
    first, second = pair.first, pair.second
    point = apply(second.world_to_camera, points=place_at(first, spot=spot))
    if point[2] <= 0:
        return None
    column, row = (int(value) for value in np.floor(project(point, intrinsics=second.intrinsics)))
    edge = second.width // 32
    if not (edge <= row < second.height - edge and edge <= column < second.width - edge):
        return None
    around = np.s_[row - 1 : row + 2, column - 1 : column + 2]
    owner = first.scene.instances[first.camera][spot]
    same = (second.scene.instances[second.camera][around] == owner).all()
    depths = second.depth[around]
    exact = abs(float(second.depth[row, column]) - point[2]) <= MAX_DEPTH_ERROR
    return (row, column) if same and exact and float(np.ptp(depths)) < 5 * MAX_DEPTH_ERROR else None


def draw_ring(image: Array, *, spot: tuple[int, int]) -> Array:
    """A copy of the picture (H,W,3) uint8 with a circle around a pixel, which stays to be seen."""
    canvas = Image.fromarray(np.ascontiguousarray(image))
    row, column = spot
    radius = max(4, round(image.shape[0] / 32))
    bounds = (column - radius, row - radius, column + radius, row + radius)
    ImageDraw.Draw(canvas).ellipse(bounds, outline=COLOURS[_RING], width=max(1, round(image.shape[0] / 128)))
    return np.asarray(canvas)
