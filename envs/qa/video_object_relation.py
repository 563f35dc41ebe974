"""Object-object relation in a video: a distance in metres, the nearest of several, or a side, at its start or end.

Distances run between the nearest points of the objects' 3-D boxes, as the questions say; a number is bare, with two
decimals. The nearest of several leads the next one by `min_gap`; each of them is the nearest to some object. Sides are
those of `mi_object_relation`: from one object, facing a second, where is a third. The frame that a question is about
shows all its objects clearly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vst_vla.envs.qa.base import Clip, QAItem
from vst_vla.envs.qa.choices import lettered, some
from vst_vla.envs.qa.directions import SIDES, bearing, level_length, named
from vst_vla.envs.qa.films import MOMENTS, Film, clear, loose, still_films
from vst_vla.envs.qa.gaps import box_gap
from vst_vla.envs.qa.options import fair_contest, fair_draw, with_options
from vst_vla.envs.qa.view import Seen
from vst_vla.envs.qa.wording import choose
from vst_vla.vla.contracts import Array

MIN_LEVEL_GAP = 0.08
"""Metres on the level between the centres of objects whose directions are asked."""

MIN_GAP = 0.02
"""Metres between the boxes of objects whose distance is asked, so that neither lies in the other."""

_QUESTIONS = {
    "gap": (
        "At the {moment} of the video, how many meters are {a} and {b} apart at their nearest points?",
        "Measured between the closest points of tight boxes around them, what is the distance between {a} and {b} "
        "at the {moment} of the video, in meters?",
    ),
    "nearest": (
        "At the {moment} of the video, which of these is nearest to {a}, from closest point to closest point?",
        "When the video is at its {moment}, which of these objects has the smallest gap to {a}?",
    ),
    "side": (
        "At the {moment} of the video, on which side is {c} for somebody at {a} who faces {b}?",
        "Take the {moment} of the video: standing at {a} and looking at {b}, where is {c}?",
    ),
}
_NUM_OTHERS = 3
_MOST_OBJECTS = 7
_MOST_NEAR = 6
"""Objects whose gaps are compared: each costs a small optimisation."""


@dataclass(frozen=True, kw_only=True)
class VideoObjectRelation:
    """Asks how objects lie to each other: a number, or a letter.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
        min_gap: m by which the nearest object leads.
    """

    name: ClassVar[str] = "video_object_relation"
    level: ClassVar[str] = "L2"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False
    min_gap: float = 0.03

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no frame shows two objects clearly."""
        found = [(film, moment) for film in still_films(clip) for moment in MOMENTS if len(clear(film.at(moment))) > 1]
        items = [self._item(*found[int(rng.integers(len(found)))], rng) for _ in range(count if found else 0)]
        return [item for item in items if item is not None]

    def _item(self, film: Film, moment: str, rng: np.random.Generator) -> QAItem | None:
        objects = clear(film.at(moment))
        mixed = loose([objects[int(i)] for i in rng.permutation(len(objects))])[:_MOST_OBJECTS]
        if len(mixed) < 2:
            return None
        form = sorted(_QUESTIONS)[int(rng.integers(len(_QUESTIONS)))]
        make = {"gap": self._gap, "nearest": self._nearest, "side": self._side}[form]
        return make(film, mixed, moment, rng)

    def _gap(self, film: Film, mixed: Sequence[Seen], moment: str, rng: np.random.Generator) -> QAItem | None:
        metres = box_gap(mixed[0], mixed[1])
        if metres < MIN_GAP:
            return None
        question = f"{film.views[0].lens_text} {self._wording('gap', mixed[:2], moment, rng)}"
        question += "" if self.short_prompt else " Answer with a number only."
        return film.item(self, question=question, answer=f"{metres:.2f}", about=_about("gap", mixed[:2], moment))

    def _nearest(self, film: Film, mixed: Sequence[Seen], moment: str, rng: np.random.Generator) -> QAItem | None:
        near = mixed[:_MOST_NEAR]
        contest = fair_contest(_nearness(near), most=1 + _NUM_OTHERS, lead=self.min_gap, rng=rng)
        if contest is None:
            return None
        names = (contest.winner, *contest.others)
        choices = lettered(contest.winner, others=contest.others, rng=rng)
        wording = self._wording("nearest", [contest.case], moment, rng)
        question = with_options(wording, choices, short=self.short_prompt)
        named_so = {seen.category: seen for seen in near}
        about = _about("nearest", [contest.case, *(named_so[name] for name in names)], moment)
        return film.item(self, question=question, answer=choices.letter, about=about, contest=names)

    def _side(self, film: Film, mixed: Sequence[Seen], moment: str, rng: np.random.Generator) -> QAItem | None:
        cases = [(side, triple) for triple in itertools.permutations(mixed, 3) if (side := side_from(triple))]
        if not cases:
            return None
        side, triple = fair_draw(cases, rng=rng)
        others = some(sorted({other for other, _ in cases}), count=_NUM_OTHERS, without=side, rng=rng)
        if not others:
            return None
        choices = lettered(side, others=others, rng=rng)
        question = with_options(self._wording("side", triple, moment, rng), choices, short=self.short_prompt)
        about = _about("side", triple, moment)
        return film.item(self, question=question, answer=choices.letter, about=about, contest=(side, *others))

    def _wording(self, form: str, objects: Sequence[Seen], moment: str, rng: np.random.Generator) -> str:
        names = dict(zip("abc", [f"the {seen.category}" for seen in objects], strict=False))
        return choose(_QUESTIONS[form], rng=rng, short=self.short_prompt).format(moment=moment, **names)


def _nearness(objects: Sequence[Seen]) -> list[tuple[Seen, dict[str, float]]]:
    """Each of the objects with its gaps in m to the others."""
    found: list[tuple[Seen, dict[str, float]]] = [(anchor, {}) for anchor in objects]
    for (one, ones), (other, others) in itertools.combinations(found, 2):
        ones[other.category] = others[one.category] = box_gap(one, other)
    return found


def _about(form: str, objects: Sequence[Seen], moment: str) -> dict[str, Any]:
    return {"form": form, "objects": [seen.name for seen in objects], "moment": moment}


def level_angle(triple: Sequence[Seen]) -> float | None:
    """Direction from the first object to the third, clockwise from that to the second; None when two are too near."""
    start, ahead, goal = (_place(seen) for seen in triple)
    steps = (ahead - start, goal - start, goal - ahead)
    if min(level_length(step) for step in steps) < MIN_LEVEL_GAP:
        return None
    return bearing(steps[0], to=steps[1])


def side_from(triple: Sequence[Seen]) -> str | None:
    """On which of eight sides the third object is from the first, which faces the second; None when not clear."""
    angle = level_angle(triple)
    return None if angle is None else named(angle, dial=SIDES)


def _place(seen: Seen) -> Array:
    return np.asarray(seen.view.scene.poses[seen.number, :3, 3])
