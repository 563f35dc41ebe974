"""Depth comparison: which of two objects is nearer to the camera, or several points in order from far to near.

Depth is the distance along the camera's z axis, read from the depth picture, never from object centres. Only clear
cases are asked: seen well, and farther apart than `min_gap`. Three forms, drawn at random:

    named    two objects by name, with their 2-D boxes in pixels unless the prompt is short; answer: the nearer's name
    points   the same two, each marked by a coloured point drawn on the picture; answer: the nearer's name
    letters  three to five points drawn on objects, with letters; answer: the letters from far to near, "C, A, B"
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vst_vla.envs.qa.base import QAItem, clear_instances
from vst_vla.envs.qa.marks import COLOURS, draw_marks, steady_pixels
from vst_vla.vla.contracts import Array, SceneState

MIN_GAP = 0.05
"""Metres of depth between compared objects, at least."""

_LETTERS = "ABCDE"
_PAIR_QUESTIONS = (
    "Which is nearer to the camera, {a} or {b}?",
    "Of {a} and {b}, which one is closer to the camera?",
    "Compare {a} with {b}: which has the smaller depth?",
)
_ORDER_QUESTIONS = (
    "Order the points {letters} from far to near.",
    "The points {letters} lie at different depths. List them from the farthest to the nearest.",
    "Sort {letters} by distance along the view, farthest first.",
)


@dataclass(frozen=True, kw_only=True)
class DepthOrder:
    """Asks about depth in one camera's picture.

    Args:
        short_prompt: shorter wording, without 2-D boxes and without saying how to answer.
        min_gap: metres of depth between any two compared things.
        min_visible: visible fraction below which an object is not used.
        min_pixels: the same in pixels of the picture.
    """

    short_prompt: bool = False
    min_gap: float = MIN_GAP
    min_visible: float = 0.5
    min_pixels: int = 16

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no camera sees two well separated objects."""
        views = [view for camera in range(len(scene.cameras)) if len(view := self._view(scene, camera)) >= 2]
        items = [self._item(scene, views[int(rng.integers(len(views)))], rng) for _ in range(count if views else 0)]
        return [item for item in items if item is not None]

    def _view(self, scene: SceneState, camera: int) -> list[_Seen]:
        """The objects that a camera sees well and whose names are theirs alone there."""
        found = clear_instances(scene, camera=camera, min_visible=self.min_visible, min_pixels=self.min_pixels)
        alone = [numbers[0] for numbers in found.values() if len(numbers) == 1]
        return [_Seen(scene=scene, camera=camera, number=number) for number in alone]

    def _item(self, scene: SceneState, view: list[_Seen], rng: np.random.Generator) -> QAItem | None:
        form = int(rng.integers(3))
        return self._letters(view, rng) if form == 2 else self._pair(view, rng, marked=form == 1)

    def _pair(self, view: list[_Seen], rng: np.random.Generator, *, marked: bool) -> QAItem | None:
        pairs = [(a, b) for i, a in enumerate(view) for b in view[i + 1 :] if a.is_apart(b, self.min_gap)]
        if not pairs:
            return None
        pair = list(pairs[int(rng.integers(len(pairs)))])
        rng.shuffle(pair)  # type: ignore[arg-type]
        colours = [str(colour) for colour in rng.permutation(sorted(COLOURS))[:2]]
        spots = [seen.spot(rng) for seen in pair]
        marks = [(name, *spot) for name, spot in zip(colours, spots, strict=True) if marked and spot is not None]
        if marked and len(marks) < 2:
            return None
        question = self._pair_question(pair, rng, [name for name, *_ in marks])
        nearer = min(pair, key=lambda seen: seen.depth)
        return _make(pair[0], question, nearer.name, marks, level="L0")

    def _pair_question(self, pair: list[_Seen], rng: np.random.Generator, colours: list[str]) -> str:
        if colours:
            phrases = [f"the {s.name} ({c} point)" for s, c in zip(pair, colours, strict=True)]
        elif self.short_prompt:
            phrases = [f"the {seen.name}" for seen in pair]
        else:
            phrases = [f'the {seen.name} {{"bbox_2d": {seen.bbox()}}}' for seen in pair]
        variant = 0 if self.short_prompt else int(rng.integers(len(_PAIR_QUESTIONS)))
        question = _PAIR_QUESTIONS[variant].format(a=phrases[0], b=phrases[1])
        size = "" if colours else pair[0].size_text()
        return question if self.short_prompt else f"{question} {size}Answer with the object's name."

    def _letters(self, view: list[_Seen], rng: np.random.Generator) -> QAItem | None:
        chosen = self._chain([view[int(i)] for i in rng.permutation(len(view))], rng)
        if len(chosen) < 3:
            return None
        letters = _LETTERS[: len(chosen)]
        marks = [(letter, *spot) for letter, (_, spot) in zip(letters, chosen, strict=True)]
        depth = chosen[0][0].picture_depth
        order = sorted(marks, key=lambda mark: -depth[mark[1], mark[2]])
        variant = 0 if self.short_prompt else int(rng.integers(len(_ORDER_QUESTIONS)))
        question = _ORDER_QUESTIONS[variant].format(letters=", ".join(letters))
        question += "" if self.short_prompt else " Answer with the letters, separated by commas."
        return _make(chosen[0][0], question, ", ".join(name for name, *_ in order), marks, level="L1")

    def _chain(self, view: list[_Seen], rng: np.random.Generator) -> list[tuple[_Seen, tuple[int, int]]]:
        """At most three to five objects with a point on each, in the given order, every depth apart from the others."""
        limit = int(rng.integers(3, len(_LETTERS) + 1))
        chosen: list[tuple[_Seen, tuple[int, int]]] = []
        for seen in view:
            spot = seen.spot(rng)
            if spot is None or len(chosen) == limit:
                continue
            depths = [other.picture_depth[place] for other, place in chosen]
            if all(abs(seen.picture_depth[spot] - depth) >= self.min_gap for depth in depths):
                chosen.append((seen, spot))
        return chosen


class _Seen:
    """One object in one camera's picture."""

    def __init__(self, *, scene: SceneState, camera: int, number: int) -> None:
        self.name = scene.categories[number]
        self.image: Array = scene.images[camera]
        self.picture_depth: Array = scene.depth[camera]
        self.mask: Array = scene.instances[camera] == number + 1
        values = self.picture_depth[self.mask]
        self.front, self.depth = (float(v) for v in np.percentile(values, [10, 50]))

    def is_apart(self, other: _Seen, gap: float) -> bool:
        """Whether both the objects' fronts and their middles say by a clear margin which one is nearer."""
        middle, front = self.depth - other.depth, self.front - other.front
        return abs(middle) >= gap and abs(front) >= gap / 2 and middle * front > 0

    def spot(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """A random pixel (row, column) well inside the object, on a smooth part of it."""
        places = np.argwhere(steady_pixels(self.mask, depth=self.picture_depth))
        if not len(places):
            return None
        row, column = places[int(rng.integers(len(places)))]
        return int(row), int(column)

    def bbox(self) -> list[int]:
        """The visible pixels' bounds [x1, y1, x2, y2], the far edges exclusive."""
        rows, columns = np.nonzero(self.mask)
        return [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]

    def size_text(self) -> str:
        """States the picture's size, which 2-D boxes refer to."""
        height, width = self.mask.shape
        return f"The picture is {width}x{height} pixels. "


def _make(seen: _Seen, question: str, answer: str, marks: list[tuple[str, int, int]], *, level: str) -> QAItem:
    image = draw_marks(seen.image, marks=marks) if marks else seen.image
    return QAItem(
        family="depth_order",
        level=level,
        kind="mm_qa",
        question=question,
        answer=answer,
        images=(image,),
        marks=tuple(marks),
    )
