"""Coloured points on objects, which say what is meant without naming it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vst_vla.envs.qa.base import Mark
from vst_vla.envs.qa.marks import COLOURS
from vst_vla.envs.qa.view import Seen


def colour_points(objects: Sequence[Seen], *, rng: np.random.Generator) -> tuple[Mark, ...]:
    """One point on each object, each of another colour; none at all when an object has no room for one."""
    colours = [str(colour) for colour in rng.permutation(sorted(COLOURS))[: len(objects)]]
    spots = [seen.spot(rng) for seen in objects]
    marks = [Mark(colour, *spot) for colour, spot in zip(colours, spots, strict=True) if spot is not None]
    return tuple(marks) if len(marks) == len(objects) else ()
