"""Directions in words: sides, points of the compass, hours of a clock face, seen from above.

Angles are clockwise as seen from above, in degrees, from the direction that a question calls ahead, north or twelve
o'clock. A direction is named only when it lies clearly inside its sector.
"""

from __future__ import annotations

import math

import numpy as np

from vst_vla.envs.qa.choices import COMPASS
from vst_vla.vla.contracts import Array

SIDES = ("front", "front right", "right", "back right", "back", "back left", "left", "front left")
"""Eight directions relative to a facing direction, clockwise."""
CLOCK = ("12 o'clock", *(f"{hour} o'clock" for hour in range(1, 12)))
"""Twelve directions, clockwise; twelve o'clock is ahead."""
DIALS = {"compass": COMPASS, "sides": SIDES, "clock": CLOCK}
"""Name -> its directions, clockwise from ahead."""

SECTOR_SHARE = 0.7
"""Fraction of a sector, around its middle, in which a direction has its name beyond doubt."""


def bearing(facing: Array, *, to: Array) -> float:
    """Angle in [0, 360) from one vector to another, clockwise as seen from above; heights are ignored.

    Args:
        facing: (2,) or (3,) in the world.
        to: the same.
    """
    angles = [math.atan2(vector[1], vector[0]) for vector in (facing, to)]
    return math.degrees(angles[0] - angles[1]) % 360.0


def named(angle: float, *, dial: tuple[str, ...]) -> str | None:
    """The direction's name on a dial; None when it lies too near the border of two."""
    width = 360.0 / len(dial)
    place = round(angle / width)
    return dial[place % len(dial)] if abs(angle - place * width) <= SECTOR_SHARE * width / 2 else None


def level_length(vector: Array) -> float:
    """Length in m of a vector's level part."""
    return float(np.hypot(vector[0], vector[1]))
