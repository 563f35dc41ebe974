"""How the hand gets from place to place: up, over what stands between, and down at the end."""

from __future__ import annotations

import numpy as np

from vst_vla.policies.expert.handroom import PALM_HEIGHT
from vst_vla.policies.expert.heights import Heights
from vst_vla.vla.contracts import Array

BESIDE = 0.008  # m beside the goal within which the hand comes straight down
FUNNEL = 8.0  # m of height kept for each metre further beside it
CLEARANCE = 0.025  # m between what moves and what it passes over
EARLY = 0.02  # m below the travelling height from which the hand already moves sideways
CORRIDOR = 0.06  # m to either side of the way
PALM_CORRIDOR = 0.11  # m to either side of the way, for the palm
PALM_CLEARANCE = 0.015  # m between the palm and what it passes over
LANDING = 0.025  # m beside the goal within which the hand may come down whatever is beside it


def over(scene: Heights, *, start: Array, goal: Array, hanging: float) -> Array:
    """Where to steer next, (3,) m.

    Args:
        scene: everything that must not be touched on the way.
        start: (3,) m, where the hand is.
        goal: (3,) m, where it has to be.
        hanging: m that the lowest part of what moves is below the hand.
    """
    beside = float(np.linalg.norm(goal[:2] - start[:2]))
    if beside < BESIDE:
        return goal
    height = max(float(goal[2]), min(_travel(scene, start, goal, hanging), float(goal[2]) + FUNNEL * (beside - BESIDE)))
    if beside > LANDING:
        height = max(height, min(float(start[2]), _travel(scene, start, start, hanging)))
    ahead = start[:2] if start[2] < height - EARLY else goal[:2]
    return np.append(ahead, height)


def _travel(scene: Heights, start: Array, goal: Array, hanging: float) -> float:
    """The hand's height (m) at which nothing on the straight way is touched."""
    low = scene.highest_between(start[:2], goal[:2], width=CORRIDOR) + CLEARANCE + hanging
    return max(low, scene.highest_between(start[:2], goal[:2], width=PALM_CORRIDOR) + PALM_CLEARANCE - PALM_HEIGHT)
