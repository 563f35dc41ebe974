"""Phrases that mean exactly one object of a picture: by an extreme, by nearness to another object, by a drawn point.

Every whole object of which anything is seen is a candidate, so that a phrase is never true of something overlooked; the
object meant must lead the next one by a clear margin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vst_vla.envs.qa.base import Mark
from vst_vla.envs.qa.points import colour_points
from vst_vla.envs.qa.view import Seen, View

MARGIN_PIXELS = 0.04
"""Lead in the picture, as a fraction of its width."""
MARGIN_M = 0.03
"""Lead in space, in metres."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A phrase and the one object that it means."""

    target: Seen
    phrase: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Extreme:
    """An attribute whose largest value a phrase names."""

    phrases: tuple[str, ...]
    value: Callable[[Seen], float]
    margin: float


def in_view(view: View) -> list[Seen]:
    """The whole objects of which a pixel is seen."""
    return [seen for seen in view.seen if view.pixels[seen.number] and not seen.is_part]


def references(view: View, *, targets: Sequence[Seen], rng: np.random.Generator) -> list[Reference]:
    """All phrases that hold in this picture for one of `targets`."""
    return [*_extremes(view, targets), *_nearest(view, targets), *_pointed(targets, rng)]


def _extremes(view: View, targets: Sequence[Seen]) -> list[Reference]:
    candidates = in_view(view)
    found = []
    for extreme in _table(view):
        target = _winner(candidates, extreme.value, extreme.margin)
        if target in targets and target is not None:
            found += [Reference(target=target, phrase=phrase) for phrase in extreme.phrases]
    return found


def _table(view: View) -> tuple[_Extreme, ...]:
    margin = MARGIN_PIXELS * view.width
    return (
        _Extreme(phrases=("the leftmost object", "the object farthest to the left"), value=_left, margin=margin),
        _Extreme(phrases=("the rightmost object", "the object farthest to the right"), value=_right, margin=margin),
        _Extreme(
            phrases=("the object nearest to the camera", "the object whose center is closest to the camera"),
            value=lambda seen: -_distance(seen),
            margin=MARGIN_M,
        ),
        _Extreme(
            phrases=("the object farthest from the camera", "the object whose center is most distant from the camera"),
            value=_distance,
            margin=MARGIN_M,
        ),
        _Extreme(phrases=("the object that reaches highest",), value=_top, margin=MARGIN_M),
    )


def _right(seen: Seen) -> float:
    """How far right the middle of an object's visible pixels lies."""
    return float(np.nonzero(seen.mask)[1].mean())


def _left(seen: Seen) -> float:
    return -_right(seen)


def _distance(seen: Seen) -> float:
    return float(np.linalg.norm(seen.centre))


def _top(seen: Seen) -> float:
    return float(seen.corners[:, 2].max())


def _nearest(view: View, targets: Sequence[Seen]) -> list[Reference]:
    """The object that is nearest to another one, centre to centre."""
    candidates = in_view(view)
    found = []
    for anchor in view.unique():
        others = [seen for seen in candidates if seen is not anchor]
        target = _winner(others, partial(_nearness, anchor), MARGIN_M)
        if target in targets and target is not None and len(others) > 1:
            phrase = f"the object closest to the {anchor.category}, center to center"
            found.append(Reference(target=target, phrase=phrase))
    return found


def _nearness(anchor: Seen, seen: Seen) -> float:
    return -float(np.linalg.norm(seen.centre - anchor.centre))


def _pointed(targets: Sequence[Seen], rng: np.random.Generator) -> list[Reference]:
    found = []
    for target in targets:
        marks = colour_points([target], rng=rng) if target.is_simple else ()
        found += [Reference(target=target, phrase=f"the object with the {m.name} point", marks=marks) for m in marks]
    return found


def _winner(candidates: Sequence[Seen], value: Callable[[Seen], float], margin: float) -> Seen | None:
    """The candidate with the largest value, if it leads by the margin; None otherwise."""
    if len(candidates) < 2:
        return None
    ordered = sorted(candidates, key=value)
    return ordered[-1] if value(ordered[-1]) - value(ordered[-2]) >= margin else None
