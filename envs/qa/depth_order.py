"""Depth comparison: which of two objects is nearer to the camera, or several points in order from far to near.

Depth is the distance along the camera's z axis, read from the depth picture, never from object centres. Only clear
cases are asked: seen well, and farther apart than `min_gap`. Three forms, drawn at random:

    named    two objects by name, with their 2-D boxes in pixels unless the prompt is short; answer: one name
    points   the same two, each marked by a coloured point drawn on the picture; answer: one name with its point, as
             the question calls it, "red-point plate"
    letters  three to five points drawn on objects, with letters; answer: the letters in order, "C, A, B"

The first two ask for the nearer or for the farther one; letters run from far to near, or from near to far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, Mark, QAItem
from vst_vla.envs.qa.marks import covers, draw_marks
from vst_vla.envs.qa.points import called_with_point, colour_points
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.envs.qa.wording import NAME_WANTED, choose, joined
from vst_vla.vla.contracts import SceneState

MIN_GAP = 0.05
"""Metres of depth between compared objects, at least."""

_LETTERS = "ABCDE"
_PAIR_QUESTIONS = {
    "nearer": (
        "Which is nearer to the camera, {a} or {b}?",
        "Of {a} and {b}, which one is closer to the camera?",
        "Compare {a} with {b}: which has the smaller depth?",
    ),
    "farther": (
        "Which is farther from the camera, {a} or {b}?",
        "Of {a} and {b}, which one is more distant from the camera?",
        "Compare {a} with {b}: which has the larger depth?",
    ),
}
_ORDER_QUESTIONS = {
    "far to near": (
        "Order the points {letters} from far to near.",
        "The points {letters} lie at different depths. List them from the farthest to the nearest.",
        "Sort {letters} by distance along the view, farthest first.",
    ),
    "near to far": (
        "Order the points {letters} from near to far.",
        "The points {letters} lie at different depths. List them from the nearest to the farthest.",
        "Sort {letters} by distance along the view, nearest first.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class DepthOrder:
    """Asks about depth in one camera's picture.

    Args:
        short_prompt: shorter wording, without 2-D boxes and without saying how to answer.
        min_gap: metres of depth between any two compared things.
        min_visible: visible fraction below which an object is not used.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "depth_order"
    level: ClassVar[str] = "L2"

    short_prompt: bool = False
    min_gap: float = MIN_GAP
    min_visible: float = 0.5
    min_pixels: int = 16

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no camera sees two well separated objects."""
        views = [(view, self._fronts(view)) for view in views_of(scene)]
        views = [(view, fronts) for view, fronts in views if len(fronts) >= 2]
        items = [self._item(*views[int(rng.integers(len(views)))], rng) for _ in range(count if views else 0)]
        return [item for item in items if item is not None]

    def _fronts(self, view: View) -> list[_Front]:
        seen = view.unique(min_visible=self.min_visible, min_pixels=self.min_pixels)
        return [_Front(seen) for seen in seen]

    def _item(self, view: View, fronts: list[_Front], rng: np.random.Generator) -> QAItem | None:
        form = int(rng.integers(3))
        return self._letters(view, fronts, rng) if form == 2 else self._pair(view, fronts, rng, marked=form == 1)

    def _pair(self, view: View, fronts: list[_Front], rng: np.random.Generator, *, marked: bool) -> QAItem | None:
        pairs = [(a, b) for i, a in enumerate(fronts) for b in fronts[i + 1 :] if a.is_apart(b, self.min_gap)]
        if not pairs:
            return None
        pair = list(pairs[int(rng.integers(len(pairs)))])
        rng.shuffle(pair)  # type: ignore[arg-type]
        marks = colour_points([front.seen for front in pair], rng=rng) if marked else ()
        if marked and not marks:
            return None
        wish = sorted(_PAIR_QUESTIONS)[int(rng.integers(2))]
        near, far = sorted(pair, key=lambda front: front.depth)
        right, wrong = (near, far) if wish == "nearer" else (far, near)
        objects = [front.seen for front in pair]
        called = [seen.category for seen in objects]
        if marked:
            called = [called_with_point(name, mark=mark) for name, mark in zip(called, marks, strict=True)]
        boxed = not marked and not self.short_prompt
        boxes = [f' {{"bbox_2d": {seen.bbox}}}' if boxed else "" for seen in objects]
        phrases = [f"the {name}{box}" for name, box in zip(called, boxes, strict=True)]
        question = self._pair_question(view, phrases, wish, rng, boxed=boxed)
        contest = tuple(f"{front.seen.category}, {wish}" for front in (right, wrong))
        about = {"form": "points" if marked else "named", "wish": wish}
        return self._make(view, objects, question, called[pair.index(right)], marks, about, contest)

    def _pair_question(
        self, view: View, phrases: Sequence[str], wish: str, rng: np.random.Generator, *, boxed: bool
    ) -> str:
        question = choose(_PAIR_QUESTIONS[wish], rng=rng, short=self.short_prompt).format(a=phrases[0], b=phrases[1])
        size = f"The picture is {view.width}x{view.height} pixels. " if boxed else ""
        return question if self.short_prompt else f"{question} {size}{NAME_WANTED}"

    def _letters(self, view: View, fronts: list[_Front], rng: np.random.Generator) -> QAItem | None:
        chosen = self._chain(view, [fronts[int(i)].seen for i in rng.permutation(len(fronts))], rng)
        if len(chosen) < 3:
            return None
        letters = _LETTERS[: len(chosen)]
        marks = tuple(Mark(letter, *spot) for letter, (_, spot) in zip(letters, chosen, strict=True))
        wish = sorted(_ORDER_QUESTIONS)[int(rng.integers(2))]
        order = sorted(marks, key=lambda mark: view.depth[mark.row, mark.column], reverse=wish == "far to near")
        question = choose(_ORDER_QUESTIONS[wish], rng=rng, short=self.short_prompt)
        question = question.format(letters=joined(letters) if not self.short_prompt else ", ".join(letters))
        question += "" if self.short_prompt else " Answer with the letters, separated by commas."
        answer = ", ".join(mark.name for mark in order)
        about = {"form": "letters", "wish": wish}
        return self._make(view, [seen for seen, _ in chosen], question, answer, marks, about, ())

    def _chain(
        self, view: View, objects: Sequence[Seen], rng: np.random.Generator
    ) -> list[tuple[Seen, tuple[int, int]]]:
        """At most three to five objects with a point on each, in the given order, every depth apart from the others."""
        limit = int(rng.integers(3, len(_LETTERS) + 1))
        chosen: list[tuple[Seen, tuple[int, int]]] = []
        for seen in objects:
            spot = seen.spot(rng)
            if spot is None or len(chosen) == limit:
                continue
            if any(covers(spot, place, size=view.width) for _, place in chosen):
                continue
            if all(abs(view.depth[spot] - view.depth[place]) >= self.min_gap for _, place in chosen):
                chosen.append((seen, spot))
        return chosen

    def _make(
        self,
        view: View,
        objects: Sequence[Seen],
        question: str,
        answer: str,
        marks: tuple[Mark, ...],
        about: dict[str, str],
        contest: tuple[str, ...],
    ) -> QAItem:
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question,
            answer=answer,
            images=(draw_marks(view.image, marks=marks) if marks else view.image,),
            marks=marks,
            about={"camera": view.name, "objects": [seen.name for seen in objects], **about},
            contest=contest,
        )


class _Front:
    """One object's depth in one picture."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    @cached_property
    def _percentiles(self) -> tuple[float, float]:
        front, middle = np.percentile(self.seen.depths, [10, 50])
        return float(front), float(middle)

    @property
    def depth(self) -> float:
        """Median depth in m."""
        return self._percentiles[1]

    def is_apart(self, other: _Front, gap: float) -> bool:
        """Whether both the objects' fronts and their middles say by a clear margin which one is nearer."""
        front, middle = (a - b for a, b in zip(self._percentiles, other._percentiles, strict=True))
        return abs(middle) >= gap and abs(front) >= gap / 2 and middle * front > 0
