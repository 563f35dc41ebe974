"""A quiz about two pictures of one scene: which points are the same, and how the cameras stand to each other.

The like of `qa.quiz`, for the same reason. Coloured points of picture 1 are found again among numbered ones of picture
2. Forms:

    match     which numbered point is the red one
    nearer    which picture was taken from closer to a point
    far       how far a point is from one of the cameras
    higher    which picture was taken from higher up
    apart     how far apart the cameras are
    angle     by how many degrees their directions of view differ
    step      whether the camera moved left or right, up or down, forward or backward
    turn      whether it turned left or right
    tilt      whether it looks down more or less steeply
    side      on which of eight sides of the first camera the second one stands
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from vst_vla.envs.geometry import apply
from vst_vla.envs.qa import mi_camera_motion, mi_camera_relation
from vst_vla.envs.qa.base import PICTURES, Mark, QAItem
from vst_vla.envs.qa.marks import covers, draw_marks
from vst_vla.envs.qa.mi_camera_motion import FINDERS, MOVES
from vst_vla.envs.qa.mi_camera_relation import side_of, turn_between
from vst_vla.envs.qa.mi_correspondence import same_place
from vst_vla.envs.qa.pairs import Pair, pairs_of, position
from vst_vla.envs.qa.quiz import Point, Turn, draw_points, gather_turns, length
from vst_vla.vla.contracts import Array, SceneState

MIN_LEAD = 0.06
"""Metres by which a camera is nearer or higher, or has moved along an axis."""
_PLACES = ("first", "second")


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """Two pictures and the points that both show."""

    pair: Pair
    points: tuple[Point, ...]  # as picture 1 shows them
    numbers: tuple[int, ...]  # of the same points in picture 2


@dataclass(frozen=True, kw_only=True)
class MultiImageQuiz:
    """Asks about two pictures, with at most four points.

    Args:
        short_prompt: what it is for; questions are one line anyway.
        rounds: questions of an item, at most.
        on_objects: share of the points that lie on objects, as long as there are any.
    """

    name: ClassVar[str] = "mi_quiz"
    level: ClassVar[str] = "L3"

    short_prompt: bool = False
    rounds: int = 8
    on_objects: float = 0.6

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no two cameras show the same objects."""
        pairs = pairs_of(scene)
        items = [self._item(pairs[int(rng.integers(len(pairs)))], rng) for _ in range(count if pairs else 0)]
        return [item for item in items if item is not None]

    def _item(self, pair: Pair, rng: np.random.Generator) -> QAItem | None:
        found = list(_shared(pair, draw_points(pair.first, count=4, rng=rng, on=self.on_objects)))
        order = [int(place) for place in rng.permutation(len(found))]
        numbers = tuple(order.index(place) + 1 for place in range(len(found)))
        match = Match(pair=pair, points=tuple(point for point, _ in found), numbers=numbers)
        forms = _OF_CAMERAS + _OF_POINTS * (len(found) > 0)
        turns = gather_turns(partial(_draw_turn, forms, match, rng), tries=6 * len(forms), count=self.rounds)
        if not turns:
            return None
        coloured = tuple(Mark(point.colour, *point.spot) for point in match.points)
        spots = zip(numbers, (spot for _, spot in found), strict=True)
        numbered = tuple(Mark(str(number), *spot, image=1) for number, spot in sorted(spots))
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=f"{pair.lens_text} {turns[0][0]}",
            answer=turns[0][1],
            turns=tuple(turns[1:]),
            images=(draw_marks(pair.first.image, marks=coloured), draw_marks(pair.second.image, marks=numbered)),
            marks=(*coloured, *numbered),
            about={"cameras": pair.names},
        )


def _shared(pair: Pair, points: Sequence[Point]) -> Iterator[tuple[Point, tuple[int, int]]]:
    """The points that picture 2 shows too, with their pixels there, none drawn over another."""
    taken: list[tuple[int, int]] = []
    for point in points:
        spot = same_place(pair, spot=point.spot)
        if spot is not None and not any(covers(spot, other, size=pair.second.width) for other in taken):
            taken.append(spot)
            yield point, spot


def _draw_turn(forms: Sequence[Form], match: Match, rng: np.random.Generator) -> Turn | None:
    return forms[int(rng.integers(len(forms)))](match, rng)


def _any(match: Match, rng: np.random.Generator) -> int:
    return int(rng.integers(len(match.points)))


def _first_or_second(lead: float, question: str) -> Turn | None:
    """For the first when the lead is positive; None when it is not clear."""
    return None if abs(lead) < MIN_LEAD else (f"{question}, the first or the second?", _PLACES[int(lead < 0)])


def _match(match: Match, rng: np.random.Generator) -> Turn | None:
    if len(match.points) < 2:
        return None
    place = _any(match, rng)
    options = ", ".join(f"point-{number}" for number in sorted(match.numbers))
    question = f"Which of {options} in picture 2 is {match.points[place].phrase} of picture 1?"
    return question, f"point-{match.numbers[place]}"


def _distances(match: Match, point: Point) -> list[float]:
    return [float(np.linalg.norm(point.world - position(view))) for view in (match.pair.first, match.pair.second)]


def _nearer(match: Match, rng: np.random.Generator) -> Turn | None:
    point = match.points[_any(match, rng)]
    first, second = _distances(match, point)
    return _first_or_second(second - first, f"Which picture was taken from closer to {point.phrase}")


def _far(match: Match, rng: np.random.Generator) -> Turn | None:
    point, place = match.points[_any(match, rng)], int(rng.integers(2))
    unit, answer = length(_distances(match, point)[place], rng)
    return f"How many {unit} is {point.phrase} from the camera of picture {place + 1}?", answer


def _higher(match: Match, rng: np.random.Generator) -> Turn | None:
    first, second = (float(position(view)[2]) for view in (match.pair.first, match.pair.second))
    return _first_or_second(first - second, "Which picture was taken from higher up")


def _apart(match: Match, rng: np.random.Generator) -> Turn | None:
    metres = float(np.linalg.norm(position(match.pair.second) - position(match.pair.first)))
    unit, answer = length(metres, rng)
    return f"How many {unit} are the two cameras apart?", answer


def _angle(match: Match, rng: np.random.Generator) -> Turn | None:
    return mi_camera_relation.QUESTIONS["turn"][0], f"{turn_between(match.pair):.0f}"


def _step(match: Match, rng: np.random.Generator) -> Turn | None:
    axis = int(rng.integers(3))
    ways = MOVES[2 * axis : 2 * axis + 2]
    step: Array = apply(match.pair.first.world_to_camera, points=position(match.pair.second))
    if abs(float(step[axis])) < MIN_LEAD:
        return None
    return f"Did the camera move {ways[0]} or {ways[1]}?", ways[int(step[axis] < 0)]


def _turn(match: Match, rng: np.random.Generator) -> Turn | None:
    answer = FINDERS["turn"](match.pair)
    return None if answer is None else ("Did the camera turn to the left or to the right?", answer)


def _tilt(match: Match, rng: np.random.Generator) -> Turn | None:
    answer = FINDERS["tilt"](match.pair)
    return None if answer is None else (mi_camera_motion.QUESTIONS["tilt"][0], answer)


def _side(match: Match, rng: np.random.Generator) -> Turn | None:
    answer = side_of(match.pair)
    return None if answer is None else (mi_camera_relation.QUESTIONS["side"][0], answer)


Form = Callable[[Match, np.random.Generator], Turn | None]
_OF_POINTS: tuple[Form, ...] = (_match, _match, _nearer, _far)
_OF_CAMERAS: tuple[Form, ...] = (_higher, _apart, _angle, _step, _step, _turn, _tilt, _side)
