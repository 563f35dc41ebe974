"""Route plan in a video: the two turns of a walk between objects, in the style of VSI-Bench (arXiv 2412.14171).

The walker is imagined: it starts at one object, faces a second, and goes in straight lines to a third and a fourth,
turning on the spot before each leg. Objects stand where they stand at the start or end of the video. A turn is left or
right when it is within `SIDE_TURN_DEG` of a quarter turn, back when within `BACK_TURN_DEG` of a half turn; routes with
any other turn, or with a leg shorter than `MIN_LEVEL_GAP`, are not asked about. Up to four options, each the two turns
of some walk among these objects.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import Clip, QAItem
from vst_vla.envs.qa.choices import lettered, some
from vst_vla.envs.qa.films import MOMENTS, Film, clear, loose, still_films
from vst_vla.envs.qa.options import fair_draw, with_options
from vst_vla.envs.qa.video_object_relation import level_angle
from vst_vla.envs.qa.view import Seen
from vst_vla.envs.qa.wording import choose

SIDE_TURN_DEG = 40.0
BACK_TURN_DEG = 30.0

_NUM_OTHERS = 3
_MOST_OBJECTS = 5
_QUESTIONS = (
    "Objects stand as at the {moment} of the video. You are at {a} and face {b}. You turn, go straight to {c}, turn "
    "again and go straight to {d}. Which turns do you make?",
    "Plan a walk among the objects as they are at the {moment} of the video: begin at {a}, facing {b}; 1. [fill in] "
    "2. go forward until {c}; 3. [fill in] 4. go forward until {d}. What has to be filled in?",
    "A small robot starts at {a}, looking towards {b}, and has to reach {c} first and {d} then, in straight lines. "
    "With everything where the {moment} of the video shows it, which turns does it need?",
)

Route = tuple[Seen, Seen, Seen, Seen]


@dataclass(frozen=True, kw_only=True)
class RoutePlan:
    """Asks for the turns of a walk, by letter.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "video_route_plan"
    level: ClassVar[str] = "L3"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no frame shows four objects clearly, well apart."""
        places = [(film, moment) for film in still_films(clip) for moment in MOMENTS]
        found = [(film, moment, _plans(clear(film.at(moment)), rng)) for film, moment in places]
        found = [(film, moment, plans) for film, moment, plans in found if len({turns for turns, _ in plans}) > 1]
        return [self._item(*found[int(rng.integers(len(found)))], rng) for _ in range(count if found else 0)]

    def _item(self, film: Film, moment: str, plans: Sequence[tuple[str, Route]], rng: np.random.Generator) -> QAItem:
        answer, route = fair_draw(plans, rng=rng)
        names = dict(zip("abcd", [f"the {seen.category}" for seen in route], strict=True))
        question = choose(_QUESTIONS, rng=rng, short=self.short_prompt).format(moment=moment, **names)
        others = some(sorted({turns for turns, _ in plans}), count=_NUM_OTHERS, without=answer, rng=rng)
        choices = lettered(answer, others=others, rng=rng)
        return film.item(
            self,
            question=with_options(question, choices, short=self.short_prompt),
            answer=choices.letter,
            about={"objects": [seen.name for seen in route], "moment": moment},
            contest=(answer, *others),
        )


def _plans(objects: Sequence[Seen], rng: np.random.Generator) -> list[tuple[str, Route]]:
    """Every clear route between four of the objects with its turns (the way back to the one faced first allows few)."""
    chosen = loose([objects[int(i)] for i in rng.permutation(len(objects))])[:_MOST_OBJECTS]
    found: list[tuple[str, Route]] = []
    for start, facing, middle in itertools.permutations(chosen, 3):
        first = turn_of(level_angle((start, facing, middle)))
        for goal in chosen if first else ():
            if goal in (start, facing, middle):
                continue
            second = turn_of(_angle_at(start, middle, goal))
            if second:
                found.append((f"{first} then {second}", (start, facing, middle, goal)))
    return found


def _angle_at(start: Seen, middle: Seen, goal: Seen) -> float | None:
    """Turn in degrees, clockwise, at the middle of a walk; None when two of the places are too near."""
    angle = level_angle((middle, start, goal))
    return None if angle is None else (angle + 180.0) % 360.0


def turn_of(clockwise: float | None) -> str | None:
    """The turn's name; None when there is none or it lies between two."""
    if clockwise is None:
        return None
    for name, middle, width in (
        ("right", 90, SIDE_TURN_DEG),
        ("back", 180, BACK_TURN_DEG),
        ("left", 270, SIDE_TURN_DEG),
    ):
        if abs(clockwise - middle) <= width:
            return name
    return None
