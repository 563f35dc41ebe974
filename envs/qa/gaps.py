"""How far apart two oriented boxes are at their nearest points."""

from __future__ import annotations

import numpy as np
from scipy.optimize import lsq_linear

from vst_vla.envs.qa.view import Seen
from vst_vla.vla.contracts import Array


def box_gap(one: Seen, other: Seen) -> float:
    """Distance in m between the nearest points of two objects' boxes, 0 when they touch or overlap."""
    scene, numbers = one.view.scene, [one.number, other.number]
    return gap_between(scene.poses[numbers], half_extents=scene.half_extents[numbers])


def gap_between(poses: Array, *, half_extents: Array) -> float:
    """The same for poses (2,4,4) and half extents (2,3) in m.

    A point of a box is centre + axes @ u with |u| <= half extents, so the nearest two solve a least-squares problem
    with bounds in six unknowns, which has one minimum (active set method, exact).
    """
    (first, second), bounds = poses, np.concatenate(half_extents)
    axes = np.concatenate([first[:3, :3], -second[:3, :3]], axis=1)
    solution = lsq_linear(axes, second[:3, 3] - first[:3, 3], bounds=(-bounds, bounds), method="bvls")
    return float(np.sqrt(2 * solution.cost))
