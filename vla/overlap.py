"""How much oriented boxes in space overlap, exactly.

A box is VST's nine numbers: centre x, y, z and sizes along its own X, Y, Z in m, then Euler angles about the fixed X,
then Y, then Z axis (scipy's lower-case "xyz") in degrees divided by 180. Letters in shapes: N, M boxes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from vst_vla.vla.contracts import Array

_SIGNS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
_EDGES = np.array([(a, b) for a, b in itertools.combinations(range(8), 2) if np.sum(_SIGNS[a] != _SIGNS[b]) == 1])
_FLAT = 1e-9
"""Thickness, relative to the boxes' size, below which a shared part has no volume."""


def box_iou(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes (9,), in [0, 1]; 0 when one has a side that is not positive.

    The shared part of two convex bodies is the hull of what each keeps of the other's edges, so clipping 12 + 12 edges
    gives it to rounding, at any rotation.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not _may_overlap(a, b):
        return 0.0
    shared = _shared_volume(a, b)
    return float(min(1.0, shared / (np.prod(a[3:6]) + np.prod(b[3:6]) - shared)))


def box_ious(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> Array:
    """`box_iou` of N boxes with M boxes, (N,M)."""
    return np.array([[box_iou(a, b) for b in second] for a in first]).reshape(len(first), len(second))


def _may_overlap(a: Array, b: Array) -> bool:
    """Whether both are solid and their bounding spheres meet; a side beyond 1e6 m is no object's."""
    if min(a[3:6].min(), b[3:6].min()) <= 0 or max(np.abs(a[:6]).max(), np.abs(b[:6]).max()) > 1e6:
        return False
    reach = (np.linalg.norm(a[3:6]) + np.linalg.norm(b[3:6])) / 2
    return bool(np.linalg.norm(a[:3] - b[:3]) < reach)


def _shared_volume(a: Array, b: Array) -> float:
    points = np.concatenate([_edges_inside(a, b), _edges_inside(b, a)])
    scale = max(a[3:6].max(), b[3:6].max())
    spread = (points - points.mean(axis=0)) / scale if len(points) else points
    if len(points) < 4 or np.linalg.svd(spread, compute_uv=False)[-1] < _FLAT:
        return 0.0
    return float(ConvexHull(spread).volume) * scale**3


def _edges_inside(a: Array, b: Array) -> Array:
    """End points (n,3) of the parts of a's edges that lie in b."""
    turn = _rotation(b)
    corners = (_SIGNS * a[3:6] / 2) @ _rotation(a).T + (a[:3] - b[:3])
    start, end = (corners @ turn)[_EDGES.T]  # (12,3) each, in b's own axes
    near, far = _clip(start, end - start, half=b[3:6] / 2)
    kept = near <= far
    start, step = start[kept], (end - start)[kept]
    ends = np.concatenate([start + step * share[kept, None] for share in (near, far)])
    return ends @ turn.T + b[:3]


def _clip(start: Array, step: Array, *, half: Array) -> tuple[Array, Array]:
    """Where segments (n,3) enter and leave the box |x| <= half, as shares (n,) of their length (slab method)."""
    moving = np.abs(step) > 1e-15
    safe = np.where(moving, step, 1.0)
    low, high = (-half - start) / safe, (half - start) / safe
    outside = ~moving & (np.abs(start) > half)
    enter = np.where(moving, np.minimum(low, high), np.where(outside, np.inf, -np.inf))
    leave = np.where(moving, np.maximum(low, high), np.where(outside, -np.inf, np.inf))
    return np.maximum(enter.max(axis=1), 0.0), np.minimum(leave.min(axis=1), 1.0)


def _rotation(box: Array) -> Array:
    """Box axes as columns (3,3)."""
    return np.asarray(Rotation.from_euler("xyz", box[6:] * 180.0, degrees=True).as_matrix())
