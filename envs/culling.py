"""Things that a camera cannot see are not sent to the renderer, which spends its time on triangles, seen or not.

Pictures stay the same to the bit. The wrist camera sees nothing of the arm behind it, which holds most triangles of a
LIBERO scene, and a mirror that is out of view (a stove's base is one) costs a second pass over everything. Letters: G
geoms of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import mujoco
import numpy as np

from vst_vla.vla.contracts import Array

_HIDDEN_GROUP = 5  # never drawn: mujoco.MjvOption shows groups 0 to 2
_FLAT = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_BOX)  # what MuJoCo's renderer reflects others in
_CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))
_MARGIN = 1.02  # on the view's opening, because the edge of a picture is antialiased


@contextmanager
def without_unseen(model: Any, data: Any, *, camera: int) -> Iterator[None]:
    """While open, geoms outside the camera's view are hidden, unless shadows or a mirror in view could show them.

    Args:
        model: MuJoCo's model.
        data: its data, kinematics computed.
        camera: a camera's number; its pictures are square.
    """
    hidden = _unseen(model, data, camera)
    if model.light_castshadow.any() or (_mirrors(model) & ~hidden).any():
        yield
        return
    groups = model.geom_group[hidden]
    model.geom_group[hidden] = _HIDDEN_GROUP
    try:
        yield
    finally:
        model.geom_group[hidden] = groups


def _mirrors(model: Any) -> Array:
    """Geoms (G,) bool that are drawn and in which others are reflected."""
    reflecting = (model.geom_matid >= 0) & (model.mat_reflectance[model.geom_matid] > 0)
    return reflecting & np.isin(model.geom_type, _FLAT) & np.isin(model.geom_group, (1, 2))


def _unseen(model: Any, data: Any, camera: int) -> Array:
    """Geoms (G,) bool whose box lies wholly behind one of the view's planes; never an infinite plane."""
    corners = model.geom_aabb[:, None, :3] + _CORNERS * model.geom_aabb[:, None, 3:]
    world = np.einsum("gij,gcj->gci", data.geom_xmat.reshape(-1, 3, 3), corners) + data.geom_xpos[:, None]
    x, y, z = np.moveaxis((world - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3), -1, 0)
    reach = -z * np.tan(np.deg2rad(model.cam_fovy[camera]) / 2) * _MARGIN
    sides = [(side > reach).all(axis=1) for side in (x, -x, y, -y)]
    behind = (z > 0).all(axis=1)
    return np.any([behind, *sides], axis=0) & (model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE)
