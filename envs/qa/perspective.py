"""Perspective taking on a map: in which direction one object lies from another that faces a third."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vst_vla.envs.qa.directions import DIALS, bearing, level_length, named
from vst_vla.envs.qa.layout import Layout, point_text, rounded
from vst_vla.envs.qa.reasoning import Steps
from vst_vla.envs.qa.wording import choose, degrees_text

_FRAMES = {
    "compass": (
        "North is the way from {a} to {b}: the direction {ahead} on the map.",
        "From {a} to {b} it is {ahead} on the map, and this is north.",
    ),
    "sides": (
        "Whoever stands at {a} and faces {b} looks along {ahead} on the map.",
        "From {a} to {b} it is {ahead} on the map, which is straight ahead here.",
    ),
    "clock": (
        "12 o'clock is the way from {a} to {b}: the direction {ahead} on the map.",
        "From {a} to {b} it is {ahead} on the map, and this is 12 o'clock.",
    ),
}
_GOALS = ("From {a} to {c} it is {toward}.", "The way from {a} to {c} is {toward}.")
_CHOICES = {
    "compass": ("That is {turn} from north, so the direction is {answer}.",),
    "sides": ("That is {turn} from straight ahead, so the side is {answer}.",),
    "clock": ("That is {turn} from 12 o'clock; at 30 degrees an hour, the nearest hour is {answer}.",),
}


def perspective(layout: Layout, *, triple: Sequence[int], dial: str, rng: np.random.Generator) -> Steps:
    """From the map to the direction of the third object, seen from the first, the second lying ahead.

    Args:
        layout: holds the three.
        triple: numbers of the objects in the scene.
        dial: which of `DIALS` the answer is from.
        rng: of the wording.
    """
    start, ahead_spot, goal = (layout.spot(number) for number in triple)
    ahead, toward = rounded(ahead_spot - start), rounded(goal - start)
    if not (level_length(ahead) and level_length(toward)):
        return Steps(sentences=(), answer=None)
    angle = bearing(ahead, to=toward)
    answer = named(angle, dial=DIALS[dial])
    a, b, c = (layout.name(number) for number in triple)
    words = {"a": a, "b": b, "c": c, "ahead": point_text(ahead), "toward": point_text(toward)}
    words |= {"turn": clockwise_text(angle), "answer": str(answer)}
    templates = (_FRAMES[dial], _GOALS, _CHOICES[dial])
    return Steps(sentences=tuple(choose(t, rng=rng).format(**words) for t in templates), answer=answer)


def clockwise_text(angle: float) -> str:
    """An angle in degrees, clockwise from above, as whole degrees in the shorter sense."""
    degrees = round(angle) % 360
    if degrees % 180 == 0:
        return degrees_text(degrees)
    return f"{degrees_text(degrees)} clockwise" if degrees < 180 else f"{degrees_text(360 - degrees)} counterclockwise"
