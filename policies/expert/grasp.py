"""Where to take hold of a thing from above: any part of it that fits between the fingers, with room for the hand.

One search serves boxes, cans, rims of bowls and mugs, and handles: over every point of the thing and many headings, it
looks at what lies between the open fingers, under them, and under the palm, and prefers what is square to the fingers,
near the middle and little turned. Letters: N candidates, S/U samples along and across the closing direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.policies.expert.handroom import FINGER_INNER, HandRoom, axes_of, rectangle
from vst_vla.policies.expert.heights import PITCH, Heights
from vst_vla.vla.contracts import Array

HOME_HEADING = np.pi / 2
"""Closing direction of LIBERO's start pose."""
HEADINGS = np.deg2rad(np.arange(-90, 90, 7.5)) + HOME_HEADING
PAD_HALF = 0.008  # m across the closing direction
HOLD = 0.006  # m of the thing that have to stand above the grasp point
DEPTH = 0.028  # m below the thing's top at which it is held, when there is room
WIDEST = 0.070  # m between open fingers
ROOM = 0.012  # m kept to everything, where possible

TURN_COST = 0.25  # for a quarter turn
SKEW_COST = 1.0  # for a part at 45 degrees to the fingers
MIDDLE_COST = 6.0  # per m between the grasp and the thing's middle
TIGHT_COST = 60.0  # per m missing of the room wanted
SHALLOW_COST = 30.0  # per m missing of the depth wanted


@dataclass(frozen=True, kw_only=True, eq=False)
class Grasp:
    """A pose of the hand, reaching straight down."""

    position: Array  # (3,) m, of the point between the fingertips
    heading: float  # rad, direction in which the fingers close
    cost: float = 0.0  # lower is better


def find_grasps(item: Heights, around: Heights, *, middle: Array) -> list[Grasp]:
    """Grasps that fit, best first; empty when none does.

    Depends on the scene only, so the same scene always gets the same grasps.

    Args:
        item: what to take.
        around: everything else, the table included.
        middle: (2,) m, the item's centre of mass.
    """
    near, wide = HandRoom(around.with_top_of(item)), HandRoom(around, extra=ROOM)
    found: list[Grasp] = []
    for heading in HEADINGS:
        found += _at_heading(item, near, wide, heading=float(heading), middle=middle)
    return sorted(found, key=lambda grasp: grasp.cost)


def top_grasp(item: Heights, *, middle: Array) -> Grasp:
    """What is left to try when nothing fits: at the middle, as the hand starts."""
    return Grasp(position=np.append(middle, float(item.top.max()) - HOLD), heading=HOME_HEADING)


def distinct(grasps: Sequence[Grasp], *, most: int) -> list[Grasp]:
    """The best ones of a sorted list that differ by more than 1.5 cm or a fifth of a rad from all better ones."""
    kept: list[Grasp] = []
    for grasp in grasps:
        if len(kept) == most:
            break
        if all(not _alike(grasp, other) for other in kept):
            kept.append(grasp)
    return kept


def _alike(one: Grasp, other: Grasp) -> bool:
    return abs(one.heading - other.heading) < 0.2 and float(np.linalg.norm(one.position - other.position)) < 0.015


def _at_heading(item: Heights, near: HandRoom, wide: HandRoom, *, heading: float, middle: Array) -> list[Grasp]:
    """The grasps with the fingers closing along one heading."""
    axes, bottom = axes_of(heading), float(item.underside.min())
    points = _centred(item, item.cells(step=2), axes, bottom=bottom)
    between = _between(item, points, axes)
    top = between[..., 1].max(axis=-1)
    possible = near.fingers(points, axes) <= top - HOLD
    points, between, top = points[possible], between[possible], top[possible]
    low = near.floor(points, axes)
    wanted = np.minimum(DEPTH, (top - bottom) / 2)
    height = np.maximum(top - wanted, low)
    held = between > height[:, None, None]
    first, last = _edges(held)
    fits = (low <= top - HOLD) & held.any(axis=1).all(axis=-1) & (last[:, 1] - first[:, 1] + PITCH <= WIDEST)
    skew = np.maximum(np.abs(first[:, 2] - first[:, 0]), np.abs(last[:, 2] - last[:, 0])) / (2 * PAD_HALF)
    cost = (
        TURN_COST * abs(heading - HOME_HEADING) / (np.pi / 2)
        + SKEW_COST * skew
        + MIDDLE_COST * np.linalg.norm(points - middle, axis=-1)
        + TIGHT_COST * np.clip(wide.floor(points, axes) - height, 0.0, ROOM)
        + SHALLOW_COST * (height - top + wanted)
    )
    return [
        Grasp(position=np.append(points[i], height[i]), heading=heading, cost=float(cost[i]))
        for i in np.flatnonzero(fits)
    ]


def _centred(item: Heights, points: Array, axes: Array, *, bottom: float) -> Array:
    """The points (N,2), moved along the closing direction to the middle of the part that they would hold."""
    between = _between(item, points, axes)
    top = between[..., 1].max(axis=-1)
    height = top - np.minimum(DEPTH, (top - bottom) / 2)
    first, last = _edges(between > height[:, None, None])
    return np.asarray(points + ((first + last) / 2)[:, 1, None] * axes[0])


def _between(item: Heights, points: Array, axes: Array) -> Array:
    """The item's top (N,S,U) between the open fingers, at the pads' two sides and their middle."""
    along = np.arange(-FINGER_INNER, FINGER_INNER + PITCH / 2, PITCH)
    return item.top_at(points[:, None, None] + rectangle(along, np.array([-PAD_HALF, 0.0, PAD_HALF]), axes))


def _edges(held: Array) -> tuple[Array, Array]:
    """Where the part between the fingers (N,S,U) begins and ends (N,U), in m along the closing direction."""
    samples = held.shape[1]
    first = held.argmax(axis=1) * PITCH - FINGER_INNER
    last = (samples - 1 - held[:, ::-1].argmax(axis=1)) * PITCH - FINGER_INNER
    return first, last
