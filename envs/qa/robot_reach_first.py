"""Which of two objects the gripper will reach first: a video of an episode is shown up to a moment, the rest is known.

Reached means that the point between the fingertips comes within `REACHED` of an object's box, or that the object is
held. Asked only where both objects are `AWAY` from it at the last moment shown, the motion up to there already goes
clearly more towards the one (`MIN_LEAD`), and the way to it keeps `CLEARANCE` from the other. The task is not told, so
that the answer must be seen. Two forms, drawn at random:

    named   two objects by name; the engine keeps names from telling which one wins
    points  two objects marked by coloured points in the last frame shown
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import Clip, QAItem
from vst_vla.envs.qa.choices import lettered
from vst_vla.envs.qa.films import MIN_PIXELS, MIN_VISIBLE, Film, still_films
from vst_vla.envs.qa.hand import hand_place, reach_to
from vst_vla.envs.qa.marks import draw_marks
from vst_vla.envs.qa.options import with_options
from vst_vla.envs.qa.points import colour_points
from vst_vla.envs.qa.view import Seen, View
from vst_vla.envs.qa.wording import choose

REACHED = 0.03
AWAY = 0.06
MIN_LEAD = 0.02
CLEARANCE = 0.08
"""All in metres."""

_QUESTIONS = {
    "named": (
        "Which of these will the robot's gripper reach first after the last frame?",
        "The gripper goes on moving. Which of these does it get to first?",
        "To which of these objects will the gripper come first?",
    ),
    "points": (
        "Two objects have a point in the last frame. Which one will the robot's gripper reach first?",
        "The last frame marks two objects. Which of them will the gripper come to first?",
    ),
}
_STEPS = np.linspace(0, 1, 9)[:, None]


@dataclass(frozen=True, kw_only=True)
class _Race:
    """A film up to the present, and the object reached first after it, before the other one."""

    film: Film
    winner: Seen
    loser: Seen


@dataclass(frozen=True, kw_only=True)
class RobotReachFirst:
    """Asks which of two objects is reached first, by letter.

    Args:
        short_prompt: the plainest wording, on one line.
    """

    name: ClassVar[str] = "robot_reach_first"
    level: ClassVar[str] = "L3"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, each pair of objects once a moment; none when nothing is clearly reached first."""
        races = [race for film in still_films(clip) for race in _races(film)]
        items = (self._item(races[int(place)], rng) for place in rng.permutation(len(races)))
        return [item for item in items if item is not None][:count]

    def _item(self, race: _Race, rng: np.random.Generator) -> QAItem | None:
        named = _is_named(race.winner) and _is_named(race.loser)
        form = ("named", "points")[int(rng.integers(2))] if named else "points"
        marks = colour_points([race.winner, race.loser], rng=rng) if form == "points" else ()
        if form == "points" and not marks:
            return None
        right, wrong = (
            [f"the object with the {mark.name} point" for mark in marks]
            if marks
            else [f"the {seen.category}" for seen in (race.winner, race.loser)]
        )
        choices = lettered(right, others=[wrong], rng=rng)
        wording = choose(_QUESTIONS[form], rng=rng, short=self.short_prompt)
        images = [view.image for view in race.film.views]
        return race.film.item(
            self,
            question=with_options(wording, choices, short=self.short_prompt),
            answer=choices.letter,
            about={"form": form, "objects": [race.winner.name, race.loser.name]},
            marks=[mark._replace(image=len(images) - 1) for mark in marks],
            images=[*images[:-1], draw_marks(images[-1], marks=marks)] if marks else images,
            contest=() if marks else (race.winner.category, race.loser.category),
        )


def _is_named(seen: Seen) -> bool:
    return seen.view.scene.categories.count(seen.category) == 1


def _races(film: Film) -> Iterator[_Race]:
    """Every clear case, from every moment that has one before it and one after it."""
    for present in range(1, len(film.views) - 1):
        paths = {seen: _Path(film, present=present, seen=seen) for seen in _candidates(film.views[present])}
        shown = film.part(range(present + 1))
        for winner, loser in permutations(paths, 2):
            if paths[winner].beats(paths[loser]):
                yield _Race(film=shown, winner=winner, loser=loser)


def _candidates(view: View) -> Sequence[Seen]:
    """Objects, handles and knobs that are seen well, have no parts of their own and are not held."""
    scene = view.scene
    groups = view.clear(min_visible=MIN_VISIBLE, min_pixels=MIN_PIXELS, parts=True).values()
    others = {*scene.parents, *scene.gripper.held}
    return [seen for group in groups for seen in group if seen.number not in others]


class _Path:
    """How near the hand comes to one object, from a moment on."""

    def __init__(self, film: Film, *, present: int, seen: Seen) -> None:
        scenes = [view.scene for view in film.views]
        hands = np.stack([hand_place(scene) for scene in scenes])
        distances = [
            float(reach_to(scene, number=seen.number, places=hand[None])[0])
            for scene, hand in zip(scenes, hands, strict=True)
        ]
        held = [seen.number in scene.gripper.held for scene in scenes]
        later = range(present + 1, len(scenes))
        legs = {to: hands[to - 1] + _STEPS * (hands[to] - hands[to - 1]) for to in later}
        self.away = distances[present]
        self.approach = distances[present - 1] - distances[present]
        self.reached = next((to for to in later if held[to] or distances[to] <= REACHED), None)
        self._nearest = {to: float(reach_to(scenes[to], number=seen.number, places=legs[to]).min()) for to in later}

    def beats(self, other: _Path) -> bool:
        """Whether this object is reached first beyond doubt, and the motion so far says so."""
        if self.reached is None or min(self.away, other.away) < AWAY:
            return False
        kept = min(near for to, near in other._nearest.items() if to <= self.reached)
        return kept >= CLEARANCE and self.approach - other.approach >= MIN_LEAD
