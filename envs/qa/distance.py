"""Distances: which object is nearest to another one, how far two objects are apart, how far one is from the camera.

All distances run between the centres of 3-D boxes (or to the camera), in a straight line, as the questions say. The
nearest or farthest of several leads the next one by `min_gap`; each of them is that of some object in the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.choices import lettered
from vst_vla.envs.qa.options import fair_contest
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.envs.qa.wording import NAME_WANTED, UNITS, choose, joined, length_text, unit_sentence
from vst_vla.vla.contracts import SceneState

_NEAREST = {
    "nearest": (
        "Which of these is nearest to {anchor}: {options}?",
        "Measured between centers, which object is closest to {anchor}: {options}?",
        "Take {anchor}. What is at the smallest distance from its center: {options}?",
    ),
    "farthest": (
        "Which of these is farthest from {anchor}: {options}?",
        "Measured between centers, which object is most distant from {anchor}: {options}?",
        "Take {anchor}. What is at the largest distance from its center: {options}?",
    ),
}
_GAP = (
    "How far apart are the centers of {a} and {b}?",
    "What is the straight-line distance between the centers of {a} and {b}?",
    "Estimate the distance from the center of {a} to the center of {b}.",
)
_AWAY = (
    "How far is the center of {a} from the camera?",
    "What is the straight-line distance between the camera and the center of {a}?",
    "Estimate how distant the center of {a} is from the camera.",
)
_MOST_RIVALS = 4
_FORMS = ("names", "letters", "apart", "away")


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Asks about distances in one camera's picture: by name, by letter, or for a number with its unit.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
        min_gap: m by which the nearest or farthest object leads.
        min_visible: visible fraction below which an object is not used.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "distance"
    level: ClassVar[str] = "L2"

    short_prompt: bool = False
    min_gap: float = 0.03
    min_visible: float = 0.5
    min_pixels: int = 16

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no camera sees two objects well."""
        found = [
            (view, view.unique(min_visible=self.min_visible, min_pixels=self.min_pixels)) for view in views_of(scene)
        ]
        found = [(view, objects) for view, objects in found if len(objects) >= 2]
        items = [self._item(*found[int(rng.integers(len(found)))], rng) for _ in range(count if found else 0)]
        return [item for item in items if item is not None]

    def _objects(self, view: View) -> list[Seen]:
        return view.unique(min_visible=self.min_visible, min_pixels=self.min_pixels)

    def _item(self, view: View, objects: Sequence[Seen], rng: np.random.Generator) -> QAItem | None:
        form = _FORMS[int(rng.integers(len(_FORMS)))]
        mixed = [objects[int(i)] for i in rng.permutation(len(objects))]
        if form in ("names", "letters"):
            return self._compare(view, mixed, form, rng)
        return self._number(view, mixed[: 2 if form == "apart" else 1], form, rng)

    def _compare(self, view: View, mixed: list[Seen], form: str, rng: np.random.Generator) -> QAItem | None:
        wish = sorted(_NEAREST)[int(rng.integers(2))]
        sign = 1.0 if wish == "nearest" else -1.0
        cases = [
            (anchor, {seen.category: sign * _apart(seen, anchor) for seen in mixed if seen is not anchor})
            for anchor in mixed
        ]
        contest = fair_contest(cases, most=_MOST_RIVALS, lead=self.min_gap, rng=rng)
        if contest is None:
            return None
        anchor, rivals = contest.case, [seen for seen in mixed if seen.category in (contest.winner, *contest.others)]
        question, answer = self._compare_text(anchor, contest.winner, list(contest.others), wish, form, rng)
        names = tuple(f"{name}, {wish}" for name in (contest.winner, *contest.others))
        return self._make(view, [anchor, *rivals], question, answer, {"form": form, "wish": wish}, names)

    def _compare_text(
        self, anchor: Seen, right: str, others: list[str], wish: str, form: str, rng: np.random.Generator
    ) -> tuple[str, str]:
        choices = lettered(right, others=others, rng=rng)
        wording = choose(_NEAREST[wish], rng=rng, short=self.short_prompt)
        options = joined([f"the {name}" for name in choices.options], word="or")
        question = wording.format(anchor=f"the {anchor.category}", options=options)
        if form == "names":
            return (question if self.short_prompt else f"{question} {NAME_WANTED}"), right
        if self.short_prompt:
            return f"{question} {choices.line}.", choices.letter
        return f"{question}\n{choices.text}\nAnswer with the option's letter.", choices.letter

    def _number(self, view: View, objects: list[Seen], form: str, rng: np.random.Generator) -> QAItem:
        unit = sorted(UNITS)[int(rng.integers(len(UNITS)))]
        start = objects[1].centre if form == "apart" else np.zeros(3)
        metres = float(np.linalg.norm(objects[0].centre - start))
        names = [f"the {seen.category}" for seen in objects]
        wording = choose(_GAP if form == "apart" else _AWAY, rng=rng, short=self.short_prompt)
        question = f"{view.lens_text} {wording.format(a=names[0], b=names[-1])} {unit_sentence(unit)}"
        return self._make(view, objects, question, length_text(metres, unit=unit), {"form": form, "unit": unit}, ())

    def _make(
        self,
        view: View,
        objects: Sequence[Seen],
        question: str,
        answer: str,
        about: dict[str, str],
        contest: tuple[str, ...],
    ) -> QAItem:
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question,
            answer=answer,
            images=(view.image,),
            about={"camera": view.name, "objects": [seen.name for seen in objects], **about},
            contest=contest,
        )


def _apart(one: Seen, other: Seen) -> float:
    return float(np.linalg.norm(one.centre - other.centre))
