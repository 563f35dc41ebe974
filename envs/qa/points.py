"""Coloured points on objects, which say what is meant without naming it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from vst_vla.envs.qa.base import Mark
from vst_vla.envs.qa.marks import COLOURS, covers
from vst_vla.envs.qa.view import Seen


def called_with_point(category: str, *, mark: Mark) -> str:
    """What an object is called that has a point: "red-point plate"."""
    return f"{mark.name}-point {category}"


def colour_points(objects: Sequence[Seen], *, rng: np.random.Generator) -> tuple[Mark, ...]:
    """One point on each object, each of another colour; none at all when an object has no room for one of its own."""
    colours = [str(colour) for colour in rng.permutation(sorted(COLOURS))[: len(objects)]]
    spots = [seen.spot(rng) for seen in objects]
    placed = [spot for spot in spots if spot is not None]
    crowded = any(covers(a, b, size=objects[0].view.width) for a, b in combinations(placed, 2))
    if crowded or len(placed) < len(objects):
        return ()
    return tuple(Mark(colour, *spot) for colour, spot in zip(colours, placed, strict=True))
