"""A quiz: many short questions about a few coloured points of one picture, turn by turn.

A network from random weights learns to compare only from thousands of comparisons, and the families ask one a picture.
Points lie anywhere, on objects or not, so that no answer follows from what things are. Not one of VST's families, and
no benchmark asks it. Forms:

    nearer    which of two points is nearer to the camera, or farther from it
    left      which of two points lies further left in the picture, or further right
    higher    which of two points lies higher in the world, or lower
    closest   which of two points is closer to a third
    depth     how far a point is from the camera
    gap       how far two points are apart
    place     a point in the camera's frame: x to the right, y down, z forward, in meters
    side      on which side of somebody who stands at one point and faces another a third one lies, in the words of
              `mi_object_relation`: of eight sides, by the compass, or by the clock
    turn      the turn that leads there: left, right or back
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from vst_vla.envs.geometry import apply
from vst_vla.envs.qa.base import PICTURES, Mark, QAItem
from vst_vla.envs.qa.directions import DIALS, bearing, level_length, named
from vst_vla.envs.qa.marks import COLOURS, covers, draw_marks, steady_pixels
from vst_vla.envs.qa.mi_correspondence import place_at
from vst_vla.envs.qa.mi_object_relation import QUESTIONS
from vst_vla.envs.qa.video_route_plan import turn_of
from vst_vla.envs.qa.view import View, views_of
from vst_vla.envs.qa.wording import UNITS, length_text
from vst_vla.vla.contracts import Array, SceneState

MIN_POINTS, MAX_POINTS = 3, 5
MAX_DEPTH = 2.0
"""Metres; what lies behind it is the room."""
MIN_GAP = 0.04
"""Metres by which one point is nearer or higher than another."""
MIN_SHIFT = 0.06
"""Of the picture's width, by which one point is further left."""
MIN_RATIO = 1.3
"""Between the distances of two points from a third."""
MIN_LEVEL = 0.05
"""Metres on the level between points that make a direction."""
_TRIES = 30

Turn = tuple[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """A coloured point on what a picture shows."""

    colour: str
    spot: tuple[int, int]  # row, column
    here: Array  # (3,) m in the camera's frame
    world: Array  # (3,) m

    @property
    def phrase(self) -> str:
        """As a question calls it."""
        return f"the {self.colour} point"


@dataclass(frozen=True, kw_only=True)
class Quiz:
    """Asks about at most five points of one camera's picture.

    Args:
        short_prompt: what it is for; questions are one line anyway.
        rounds: questions of an item, at most.
        on_objects: share of the points that lie on objects, as long as there are any.
    """

    name: ClassVar[str] = "quiz"
    level: ClassVar[str] = "L2"

    short_prompt: bool = False
    rounds: int = 8
    on_objects: float = 0.6

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when the pictures show too little."""
        views = views_of(scene)
        items = [self._item(views[int(rng.integers(len(views)))], rng) for _ in range(count)]
        return [item for item in items if item is not None]

    def _item(self, view: View, rng: np.random.Generator) -> QAItem | None:
        points = draw_points(view, count=int(rng.integers(MIN_POINTS, MAX_POINTS + 1)), rng=rng, on=self.on_objects)
        if len(points) < 2:
            return None
        turns = gather_turns(partial(_draw_turn, points, view.width, rng), tries=2 * _TRIES, count=self.rounds)
        if not turns:
            return None
        marks = tuple(Mark(point.colour, *point.spot) for point in points)
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=f"{view.lens_text} {turns[0][0]}",
            answer=turns[0][1],
            turns=tuple(turns[1:]),
            images=(draw_marks(view.image, marks=marks),),
            marks=marks,
            about={"camera": view.name},
        )


def draw_points(view: View, *, count: int, rng: np.random.Generator, on: float) -> list[Point]:
    """At most so many points, each of another colour, none over another; a share of `on` lies on objects."""
    steady = steady_pixels(view.depth < MAX_DEPTH, depth=view.depth)
    owned = steady & (view.scene.instances[view.camera] > 0)
    everywhere, objects = np.argwhere(steady), np.argwhere(owned)
    spots: list[tuple[int, int]] = []
    for _ in range(_TRIES if len(everywhere) else 0):
        pool = objects if len(objects) and rng.random() < on else everywhere
        row, column = (int(value) for value in pool[int(rng.integers(len(pool)))])
        if len(spots) < count and not any(covers((row, column), spot, size=view.width) for spot in spots):
            spots.append((row, column))
    colours = [str(colour) for colour in rng.permutation(sorted(COLOURS))]
    return [point_at(view, spot=spot, colour=colour) for spot, colour in zip(spots, colours, strict=False)]


def point_at(view: View, *, spot: tuple[int, int], colour: str) -> Point:
    """The point that a pixel (row, column) shows."""
    world = place_at(view, spot=spot)
    return Point(colour=colour, spot=spot, here=apply(view.world_to_camera, points=world), world=world)


def gather_turns(draw: Callable[[], Turn | None], *, tries: int, count: int) -> list[Turn]:
    """At most so many turns with questions of their own, out of so many tries."""
    turns: dict[str, str] = {}
    for _ in range(tries):
        turn = draw()
        if turn is not None:
            turns.setdefault(*turn)
        if len(turns) == count:
            break
    return list(turns.items())


def length(metres: float, rng: np.random.Generator) -> Turn:
    """A unit's word and the length in it."""
    unit = sorted(UNITS)[int(rng.integers(len(UNITS)))]
    return UNITS[unit][0], length_text(metres, unit=unit).removesuffix(f" {unit}")


def _draw_turn(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    """A question of any form; None when the points drawn for it do not allow it."""
    form = FORMS[int(rng.integers(len(FORMS)))]
    return form([points[int(place)] for place in rng.permutation(len(points))], width, rng)


def _nearer(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    wish = ("nearer to", "farther from")[int(rng.integers(2))]
    question = f"Which is {wish} the camera, {{}} or {{}}?"
    return _compare(points, [-float(p.here[2]) for p in points], MIN_GAP, question, least=wish == "farther from")


def _left(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    wish = ("left", "right")[int(rng.integers(2))]
    question = f"Which is further {wish} in the picture, {{}} or {{}}?"
    columns = [float(-p.spot[1]) / width for p in points]
    return _compare(points, columns, MIN_SHIFT, question, least=wish == "right")


def _higher(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    wish = ("higher", "lower")[int(rng.integers(2))]
    heights = [float(p.world[2]) for p in points]
    return _compare(points, heights, MIN_GAP, f"Which is {wish}, {{}} or {{}}?", least=wish == "lower")


def _compare(
    points: Sequence[Point], values: Sequence[float], gap: float, question: str, *, least: bool
) -> Turn | None:
    """Of the first two, the one with more, or less; None when they are too much alike."""
    lead = values[0] - values[1]
    if abs(lead) < gap:
        return None
    right = points[0] if (lead > 0) != least else points[1]
    return question.format(points[0].phrase, points[1].phrase), right.colour


def _closest(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    if len(points) < 3:
        return None
    a, b, base = points[:3]
    to_a, to_b = (float(np.linalg.norm(p.world - base.world)) for p in (a, b))
    if max(to_a, to_b) < MIN_RATIO * min(to_a, to_b):
        return None
    return f"Which is closer to {base.phrase}, {a.phrase} or {b.phrase}?", (a if to_a < to_b else b).colour


def _depth(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    unit, answer = length(float(np.linalg.norm(points[0].here)), rng)
    return f"How many {unit} is {points[0].phrase} from the camera?", answer


def _gap(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    metres = float(np.linalg.norm(points[0].world - points[1].world))
    unit, answer = length(metres, rng)
    return f"How many {unit} are {points[0].phrase} and {points[1].phrase} apart?", answer


def _place(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    numbers = ", ".join(f"{value:.2f}" for value in points[0].here + 0.0)
    return f"Where is {points[0].phrase}?", f"[{numbers}]"


def _side(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    angle = _angle(points)
    dial = sorted(DIALS)[int(rng.integers(len(DIALS)))]
    side = None if angle is None else named(angle, dial=DIALS[dial])
    phrases = dict(zip("abc", [point.phrase for point in points], strict=False))
    return None if side is None else (QUESTIONS[dial][0].format(**phrases), side)


def _turn(points: Sequence[Point], width: int, rng: np.random.Generator) -> Turn | None:
    turn = turn_of(_angle(points))
    if turn is None:
        return None
    at, ahead, of = (point.phrase for point in points[:3])
    return f"You are at {at} and face {ahead}. Which turn leads to {of}?", turn


def _angle(points: Sequence[Point]) -> float | None:
    """Clockwise from the direction of the second point to that of the third, degrees; None when one is too near."""
    if len(points) < 3:
        return None
    at, to, of = points[:3]
    ahead, aside = to.world - at.world, of.world - at.world
    near = min(level_length(ahead), level_length(aside)) < MIN_LEVEL
    return None if near else bearing(ahead, to=aside)


FORMS: tuple[Callable[[Sequence[Point], int, np.random.Generator], Turn | None], ...] = (
    *(_nearer, _left, _higher, _closest, _depth, _gap, _place, _side, _turn),
    *(_nearer, _closest, _side),  # the last two are often too unclear to be asked
)
