"""Where an object that is put down from above comes to rest. Letters: N positions, P points of its underside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.policies.expert.heights import Heights
from vst_vla.policies.expert.spot import STEP, Spot
from vst_vla.vla.contracts import Array

GAP = 0.006  # m kept to walls beside the object
DEEP = 30.0  # per m of its height
AWAY = 12.0  # per m from the spot's middle
TURNED = 0.2  # per rad that it has to be turned


@dataclass(frozen=True, kw_only=True, eq=False)
class Rest:
    """A pose of the object, relative to how it is now."""

    origin: Array  # (3,) m
    turn: float  # rad about the world's z axis
    cost: float  # lower is better


def find_rests(
    item: Heights,
    around: Heights,
    spot: Spot,
    *,
    origin: Array,
    turns: Sequence[float],
    apart: Array | None,
    gap: float = GAP,
    step: float = STEP,
) -> list[Rest]:
    """Poses in which the spot's condition holds, best first; empty when there is none.

    Args:
        item: the object where it is now.
        around: everything else.
        spot: where it has to be.
        origin: (3,) m, the origin of the object's body now.
        turns: rotations to try, rad.
        apart: (2,) half-widths in m of another such object that has to find room on the spot as well.
        gap: m kept to everything beside the object.
        step: m between the positions that are tried.
    """
    scene, positions = around.widened(gap), spot.positions(step=step)
    points, under = item.cells(step=2) - origin[:2], item.undersides(step=2) - origin[2]
    rests = []
    for turn in turns:
        turned = points @ _plane_rotation(turn).T
        height = np.array([(scene.top_at(position + turned) - under).max() for position in positions])
        origins = np.column_stack([positions, height])
        away = np.linalg.norm(positions - spot.middle[:2], axis=1)
        good = spot.holds(origins)
        if apart is not None and (good & _leaves_room(positions - spot.middle[:2], apart)).any():
            good &= _leaves_room(positions - spot.middle[:2], apart)
        if not good.any():
            continue
        cost = DEEP * height + AWAY * away + TURNED * abs(turn)
        rests += [Rest(origin=origins[i], turn=turn, cost=float(cost[i])) for i in np.flatnonzero(good)]
    return sorted(rests, key=lambda rest: rest.cost)


def _leaves_room(offsets: Array, half: Array) -> Array:
    """Whether (N,) the object and its mirror image about the spot's middle lie beside each other."""
    return np.asarray((np.abs(offsets) >= half + GAP / 2).any(axis=1))


def _plane_rotation(angle: float) -> Array:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
