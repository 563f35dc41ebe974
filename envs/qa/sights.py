"""What each picture shows and how the second was taken from elsewhere, in sentences: how a reasoning begins.

Every sentence is true of the objects on a map, told only where the pictures leave no doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vst_vla.envs.qa.caption import ordered_apart
from vst_vla.envs.qa.directions import bearing
from vst_vla.envs.qa.films import middle_column
from vst_vla.envs.qa.layout import Layout
from vst_vla.envs.qa.pairs import faces_somewhere, forward
from vst_vla.envs.qa.view import Seen, View
from vst_vla.envs.qa.wording import choose, degrees_text, joined, spoken_list

MARGIN_PIXELS = 0.04
"""Lead in the picture, as a fraction of its width, from which on one object is told to be left of another."""
MARGIN_M = 0.03
"""Lead in metres from which on one object is told to be nearer than another."""

_ROWS = (
    "{Picture} shows, from left to right, {names}{rest}.",
    "In {picture}, going from left to right, there are {names}{rest}.",
    "Looking at {picture}: from left to right I see {names}{rest}.",
)
_ALONE = ("{Picture} shows {names}{rest}.", "In {picture} I see {names}{rest}.")
_NEAREST = ("The nearest of these: {name}.", "Closest to the camera among them: {name}.")
_FARTHEST = ("The farthest of these: {name}.", "Most distant from the camera among them: {name}.")
_SHARED = ("Both pictures show {names}.", "{Names} can be found in both pictures, which ties them together.")
_STEPS = (
    "Compared with picture 1, picture 2 was taken from {steps}.",
    "Seen from the camera of picture 1, that of picture 2 stands {steps}.",
)


def sights(layout: Layout, *, rng: np.random.Generator) -> list[str]:
    """What each picture shows, one after the other."""
    return [sentence for place in range(len(layout.views)) for sentence in _sight(layout, place, rng)]


def change(layout: Layout, *, rng: np.random.Generator) -> list[str]:
    """What both pictures show, and how the second camera stands and looks from the first; nothing for one picture."""
    if len(layout.views) == 1:
        return []
    return [*_overlap(layout, rng), *_shift(layout, rng), *_step(layout, rng), *_turn(layout, rng)]


def steepness(view: View) -> int:
    """By how many whole degrees a camera looks down; negative for up."""
    return round(math.degrees(math.asin(-float(forward(view)[2]))))


def turn(layout: Layout) -> int | None:
    """Whole degrees in [0, 360), clockwise from above, between the directions of view; None without a second."""
    first, second = layout.views
    return round(bearing(forward(first), to=forward(second))) % 360 if faces_somewhere(second) else None


def clear_in(layout: Layout, place: int) -> list[Seen]:
    """The map's objects that a picture shows clearly, as it shows them."""
    clear = {seen.number for seen in layout.views[place].unique()}
    return [layout.views[place].seen[number] for number in layout.numbers if number in clear]


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def _sight(layout: Layout, place: int, rng: np.random.Generator) -> list[str]:
    objects = clear_in(layout, place)
    row = ordered_apart(objects, middle_column, MARGIN_PIXELS * layout.views[place].width)
    rest = [seen for seen in objects if seen not in row]
    picture = "the picture" if len(layout.views) == 1 else f"picture {place + 1}"
    sentence = choose(_ROWS if len(row) > 1 else _ALONE, rng=rng).format(
        picture=picture,
        Picture=capital(picture),
        names=_names(row),
        rest=f"; I also see {_names(rest)}" if rest else "",
    )
    return [sentence, *_extreme(objects, rng)]


def _extreme(objects: Sequence[Seen], rng: np.random.Generator) -> list[str]:
    """The nearest or the farthest of the objects, if it leads clearly; half the time nothing."""
    ordered = sorted((float(np.linalg.norm(seen.centre)), seen.category) for seen in objects)
    wanted = int(rng.integers(4))
    if len(ordered) < 2 or wanted > 1:
        return []
    (value, name), (next_value, _), sentences = [
        (ordered[0], ordered[1], _NEAREST),
        (ordered[-1], ordered[-2], _FARTHEST),
    ][wanted]
    if abs(value - next_value) < MARGIN_M:
        return []
    return [choose(sentences, rng=rng).format(name=f"the {name}")]


def _overlap(layout: Layout, rng: np.random.Generator) -> list[str]:
    first, second = (clear_in(layout, place) for place in (0, 1))
    shared = [seen for seen in first if seen.number in {other.number for other in second}]
    sentences = []
    if shared:
        names = _names(shared)
        sentences.append(choose(_SHARED, rng=rng).format(names=names, Names=capital(names)))
    for place, objects in ((0, first), (1, second)):
        alone = [seen for seen in objects if not layout.views[1 - place].pixels[seen.number]]
        sentences += [f"Only picture {place + 1} shows {_names(alone)}."] if alone else []
    return sentences


def _shift(layout: Layout, rng: np.random.Generator) -> list[str]:
    """One object that lies in other halves of the two pictures."""
    sides = [{seen.number: _half(seen) for seen in clear_in(layout, place)} for place in (0, 1)]
    crossing = [n for n, side in sides[0].items() if side and sides[1].get(n) and side != sides[1][n]]
    if not crossing:
        return []
    number = crossing[int(rng.integers(len(crossing)))]
    before, after = sides[0][number], sides[1][number]
    name = capital(layout.name(number))
    return [f"{name} can be found in the {before} half of picture 1 and in the {after} half of picture 2."]


def _half(seen: Seen) -> str | None:
    """Which half of the picture an object lies in; None when it reaches into both."""
    (left, _, right, _), middle = seen.bbox, seen.view.width / 2
    return "left" if right <= middle else "right" if left >= middle else None


def _step(layout: Layout, rng: np.random.Generator) -> list[str]:
    """How far to the side, ahead and up the second camera is; parts under a centimetre are left out."""
    right, ahead = layout.eye(1)
    words = (("to the right", "to the left"), ("ahead", "back"), ("higher", "lower"))
    steps = [
        f"{abs(value):.2f} m {plus if value > 0 else minus}"
        for value, (plus, minus) in zip((right, ahead, layout.rise(1)), words, strict=True)
        if value
    ]
    return [choose(_STEPS, rng=rng).format(steps=joined(steps))] if steps else []


def _turn(layout: Layout, rng: np.random.Generator) -> list[str]:
    first, second = (steepness(view) for view in layout.views)
    tilt = f"the camera looks {_steep_text(first)} in picture 1 and {_steep_text(second)} in picture 2"
    degrees = turn(layout)
    if degrees is None:
        return [f"{capital(tilt)}, too steeply to face anywhere."]
    return [f"From picture 1 to picture 2 the direction of view turns {turn_text(degrees)}.", f"{capital(tilt)}."]


def turn_text(degrees: int) -> str:
    """A turn of whole degrees, clockwise from above, in words."""
    if degrees % 180 == 0:
        return "by 180 degrees" if degrees % 360 else "by 0 degrees"
    return f"{degrees_text(degrees)} to the right" if degrees < 180 else f"{degrees_text(360 - degrees)} to the left"


def _steep_text(degrees: int) -> str:
    return f"{'up' if degrees < 0 else 'down'} by {degrees_text(abs(degrees))}"


def _names(objects: Sequence[Seen]) -> str:
    return spoken_list([seen.category for seen in objects])
