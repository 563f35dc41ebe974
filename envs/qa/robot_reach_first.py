"""Which of two objects the gripper will reach first: an episode is shown up to a moment, the rest of it is known.

Reached means that the point between the fingertips comes within `REACHED` of an object's box, or that the object is
held. Asked only where the last frame shows the hand, both objects are `AWAY` from it there, and the way to the one
keeps `CLEARANCE` from the other. The task is not told, so that the answer must be seen: in a video, the motion up to
there goes clearly more towards the one (`MIN_LEAD`); in the single picture of an episode's start, the one is clearly
nearer (`MIN_NEARER`).

The two are marked by coloured points in the last frame shown and never named: a task has its habits (a basket is
reached before all that is left alone, a bowl is what most tasks are about), so that names would tell the answer.

Letters in shapes: T frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, VIDEO, Clip, Mark, QAItem
from vst_vla.envs.qa.choices import lettered
from vst_vla.envs.qa.films import MIN_PIXELS, MIN_VISIBLE, PREFIX, Film, still_films
from vst_vla.envs.qa.hand import hand_pixel, hand_place, reach_to
from vst_vla.envs.qa.marks import draw_marks
from vst_vla.envs.qa.options import with_options
from vst_vla.envs.qa.points import colour_points
from vst_vla.envs.qa.view import Seen, View
from vst_vla.envs.qa.wording import choose

REACHED = 0.04
AWAY = 0.06
MIN_LEAD = 0.02
MIN_NEARER = 0.05
CLEARANCE = 0.08
"""All in metres."""

_QUESTIONS = (
    "Two objects are marked with a point. Which one will the robot's gripper reach first?",
    "The gripper goes on moving. Which of the two objects with a point does it get to first?",
    "Of the two objects with a point, to which one will the robot's gripper come first from here on?",
)
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
        paths = [_Path(clip, number=number) for number in range(clip.frames[0].num_objects)]
        races = [race for film in still_films(clip) for race in _races(film, paths)]
        items = (self._item(races[int(place)], rng) for place in rng.permutation(len(races)))
        return list(islice((item for item in items if item is not None), count))

    def _item(self, race: _Race, rng: np.random.Generator) -> QAItem | None:
        """None when an object has no room for a point."""
        marks = colour_points((race.winner, race.loser), rng=rng)
        if not marks:
            return None
        right, wrong = (f"the object with the {mark.name} point" for mark in marks)
        choices = lettered(right, others=[wrong], rng=rng)
        question = with_options(choose(_QUESTIONS, rng=rng, short=self.short_prompt), choices, short=self.short_prompt)
        return self._make(race, question, choices.letter, marks)

    def _make(self, race: _Race, question: str, letter: str, marks: tuple[Mark, ...]) -> QAItem:
        *before, last = (view.image for view in race.film.views)
        return QAItem(
            family=self.name,
            level=self.level,
            kind=VIDEO if before else PICTURES,
            question=f"{PREFIX} {question}" if before and not self.short_prompt else question,
            answer=letter,
            images=(*before, draw_marks(last, marks=marks)),
            fps=race.film.clip.fps,
            marks=tuple(mark._replace(image=len(before)) for mark in marks),
            about={
                "camera": race.film.name,
                "frames": list(race.film.frames),
                "objects": [race.winner.name, race.loser.name],
            },
        )


def _races(film: Film, paths: Sequence[_Path]) -> Iterator[_Race]:
    """Every clear case, from every moment that shows the hand and has one after it."""
    for present, view in enumerate(film.views[:-1]):
        if hand_pixel(view) is None:
            continue
        shown = film.part(range(present + 1))
        for winner, loser in permutations(_candidates(view), 2):
            if paths[winner.number].beats(paths[loser.number], present=present):
                yield _Race(film=shown, winner=winner, loser=loser)


def _candidates(view: View) -> list[Seen]:
    """Objects, handles and knobs that are seen well, have no parts of their own and are not held."""
    scene = view.scene
    groups = view.clear(min_visible=MIN_VISIBLE, min_pixels=MIN_PIXELS, parts=True).values()
    others = {*scene.parents, *scene.gripper.held}
    return [seen for group in groups for seen in group if seen.number not in others]


class _Path:
    """How near the hand comes to one object in a clip."""

    def __init__(self, clip: Clip, *, number: int) -> None:
        hands = np.stack([hand_place(frame) for frame in clip.frames])
        legs = hands[:-1, None] + _STEPS * np.diff(hands, axis=0)[:, None]
        at_hand = [reach_to(frame, number=number, places=hand) for frame, hand in zip(clip.frames, hands, strict=True)]
        pairs = zip(clip.frames[1:], legs, strict=True)
        self._away = np.array(at_hand)  # (T,)
        self._nearest = np.array([reach_to(frame, number=number, places=leg).min() for frame, leg in pairs])  # (T-1,)
        self._is_reached = (self._away <= REACHED) | [number in frame.gripper.held for frame in clip.frames]

    def beats(self, other: _Path, *, present: int) -> bool:
        """Whether this object is reached first beyond doubt, and can be told by what is shown until the present."""
        later = np.flatnonzero(self._is_reached[present + 1 :])
        if not len(later) or min(self._away[present], other._away[present]) < AWAY:
            return False
        kept = other._nearest[present : present + 1 + later[0]].min()
        return bool(kept >= CLEARANCE and self._is_told(other, present))

    def _is_told(self, other: _Path, present: int) -> bool:
        if present == 0:
            return bool(other._away[0] - self._away[0] >= MIN_NEARER)
        mine, theirs = (path._away[present - 1] - path._away[present] for path in (self, other))
        return bool(mine > 0 and mine - theirs >= MIN_LEAD)
