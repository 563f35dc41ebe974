"""Where and how to take hold of a box from above: fingers across its narrow side, palm clear of its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.policies.expert.geometry import Box
from vst_vla.policies.expert.motion import pointing_down
from vst_vla.vla.contracts import Array

HOME_HEADING = np.pi / 2
"""Closing direction of LIBERO's start pose; of two sides that fit, the one turned least from it is taken."""
SQUARE = 1.15  # sides whose widths differ by less than this factor are equally good
FINGER_REACH = 0.038  # m of an object that fit between fingertip centre and palm
FLOOR_GAP = 0.01  # m kept between an object's underside and the fingertip centre
PALM_HALF = np.array([0.105, 0.034])  # m along and across the closing direction
PALM_HEIGHT = 0.033  # m of the palm's underside above the fingertip centre
FINGER_HALF = 0.011  # m across the closing direction
SHIFT_STEP = 0.002  # m between the grasps that are tried


@dataclass(frozen=True, kw_only=True, eq=False)
class Grasp:
    """A pose of the hand."""

    position: Array  # (3,) m, of the point between the fingertips
    heading: float  # rad, direction in which the fingers close


def choose_grasp(item: Box, others: Sequence[Box]) -> Grasp:
    """The grasp at the item's middle; beside it, along the side that is not held, when the palm would hit a neighbour.

    Depends on the scene only, so the same scene always gets the same grasp.

    Args:
        item: what to take.
        others: everything that stands around it.
    """
    middle = Grasp(position=grasp_point(item), heading=grasp_heading(item))
    across = pointing_down(middle.heading)[:, 1]
    room = max(0.0, float(np.abs(across @ item.rotation) @ item.half) - FINGER_HALF)
    shifts = sorted(np.arange(-room, room, SHIFT_STEP), key=abs)
    for shift in (0.0, *shifts):
        grasp = Grasp(position=middle.position + shift * across, heading=middle.heading)
        if not any(palm_hits(grasp, other) for other in others):
            return grasp
    return middle


def palm_hits(grasp: Grasp, other: Box) -> bool:
    """Whether the palm, at the end of its way down, would be inside the other's box."""
    if other.top < grasp.position[2] + PALM_HEIGHT:
        return False
    axes = pointing_down(grasp.heading)[:, :2].T
    reach = np.abs(axes @ other.rotation) @ other.half
    return bool((np.abs(axes @ (other.center - grasp.position)) < PALM_HALF + reach).all())


def grasp_point(item: Box) -> Array:
    """Where the fingertips close (3,) m: at the object's middle, or as deep as the palm allows when it is taller."""
    height = max(item.center[2], item.top - FINGER_REACH, item.bottom + FLOOR_GAP)
    return np.array([item.center[0], item.center[1], height])


def grasp_heading(item: Box) -> float:
    """Direction in rad in which the fingers close: across the narrow side; across the less turned one of a square."""
    (narrow, heading), (wide, other) = item.sides()
    headings = [heading, other] if wide < narrow * SQUARE else [heading]
    return min((_nearest_turn(h) for h in headings), key=lambda h: abs(h - HOME_HEADING))


def _nearest_turn(heading: float) -> float:
    """The heading, or its opposite, that is at most a quarter turn from the start pose's."""
    return HOME_HEADING + (heading - HOME_HEADING + np.pi / 2) % np.pi - np.pi / 2
