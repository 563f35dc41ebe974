"""What lies where, seen from above: convex outlines, the gaps between them, and where on the surface things may go.

Letters in shapes: N corners of an outline, counter-clockwise, metres in the world's x and y.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
from scipy.spatial import ConvexHull

from vst_vla.envs.geometry import apply, project
from vst_vla.envs.perturb.solids import Solid
from vst_vla.envs.scene import camera_matrices
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.vla.contracts import Array

REACH = (0.34, 0.76)  # m from the arm's base, level, in which it picks and places in LIBERO's own tasks
SIDE = 0.33  # m to either side of it
FRAME = 0.03  # share of the agent view's width kept free at its edges


@dataclass(frozen=True, kw_only=True, eq=False)
class Area:
    """The part of the work surface that the arm reaches and the agent view shows."""

    base: Array  # (2,) m, of the arm
    world_to_camera: Array  # (4,4)
    intrinsics: Array  # (3,3) of a picture 1 pixel wide

    def draw(self, rng: np.random.Generator) -> Array:
        """A place (2,) in m; some are out of reach."""
        return np.asarray(self.base + rng.uniform([REACH[0], -SIDE], [REACH[1], SIDE]))

    def holds(self, place: Array, *, points: Array) -> bool:
        """Whether a thing with its origin at `place` (2,) and outline points (N,3) is in reach and in the picture."""
        in_reach = REACH[0] <= float(np.linalg.norm(place - self.base)) <= REACH[1]
        pixels = project(apply(self.world_to_camera, points=points), intrinsics=self.intrinsics)
        return in_reach and bool((pixels > FRAME).all() and (pixels < 1 - FRAME).all())


def area_of(simulator: Simulator) -> Area:
    """The area of a scene, as the camera stands."""
    base = simulator.sim.data._data.body("robot0_base").xpos[:2].copy()
    intrinsics, world_to_camera = camera_matrices(simulator, camera=CAMERAS[0], size=1)
    return Area(base=base, world_to_camera=world_to_camera, intrinsics=intrinsics)


def outline_of(item: Solid, data: Any) -> Array:
    """Its outline (N,2)."""
    return outline(item.corners(data))


def outline(points: Array) -> Array:
    """The outline (N,2) of points (P,3)."""
    return np.asarray(points[ConvexHull(points[:, :2]).vertices, :2])


def swept_outline(simulator: Simulator, item: Solid) -> Array:
    """The outline (N,2) of all that a fixture covers as its drawers, doors and knobs move."""
    model, data = simulator.sim.model._model, simulator.sim.data._data
    joints = [model.joint(j).name for j in range(model.njnt) if model.body_rootid[model.jnt_bodyid[j]] == item.root]
    return outline(np.concatenate([item.corners(data), *(swept_points(simulator, item, joint=j) for j in joints)]))


def swept_points(simulator: Simulator, item: Solid, *, joint: str) -> Array:
    """World points (P,3) that span what one drawer or door of a fixture covers, from end to end."""
    model, data = simulator.sim.model._model, copy.copy(simulator.sim.data._data)
    number = model.joint(joint).id
    body = int(model.jnt_bodyid[number])
    moving = replace(item, points={body: item.points[body]})
    clouds = []
    for end in model.jnt_range[number]:
        data.qpos[model.jnt_qposadr[number]] = end
        mujoco.mj_kinematics(model, data)
        clouds.append(moving.corners(data))
    return np.concatenate(clouds)


def patch_outline(simulator: Simulator, region: str) -> Array:
    """The outline (4,2) of a patch of the work surface that a goal names."""
    centre = simulator.sim.data.get_site_xpos(region)[:2]
    half = np.asarray(simulator.problem.object_sites_dict[region].size[:2])
    return np.asarray(centre + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]))


def gap(first: Array, second: Array) -> float:
    """A lower bound in m on the distance of two outlines (N,2), negative when they overlap (separating axes)."""
    return max(_gap_along(first, second), _gap_along(second, first))


def _gap_along(first: Array, second: Array) -> float:
    """The widest gap across a side of the first one."""
    sides = np.roll(first, -1, axis=0) - first
    normals = np.stack([sides[:, 1], -sides[:, 0]], axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return float(((second @ normals.T).min(axis=0) - (first @ normals.T).max(axis=0)).max())
