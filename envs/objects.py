"""The objects of a LIBERO scene: their names, their bodies and geoms, and the boxes around what is drawn of them.

Letters in shapes: P points, G geoms of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from scipy.spatial import ConvexHull

from vst_vla.envs.geometry import apply, matrix_from_quaternion, rigid, tight_box
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

VISUAL_GROUP = 1
"""MuJoCo geom group of what is drawn; group 0 is robosuite's collision geometry."""

_ROUND_STEPS = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneObject:
    """One object or fixture of the scene.

    `points` holds the outline of everything drawn, per body and in that body's frame; `box` is its box in the root
    body's frame when the object is one rigid body, None when it has joints inside (a drawer, a door).
    """

    name: str
    category: str
    root: int  # body id
    geoms: Array  # (G,) bool, the model's geoms that belong to it
    points: dict[int, Array] = field(repr=False)  # body id -> (P,3) m
    box: tuple[Array, Array] | None  # pose (4,4), half extents (3,) m

    def pose(self, data: Any) -> tuple[Array, Array]:
        """The box now: world pose (4,4) and half extents (3,) in m."""
        pose, half_extents = self.box or tight_box(self._root_points(data))
        return body_pose(data, self.root) @ pose, half_extents

    def _root_points(self, data: Any) -> Array:
        inverse = np.linalg.inv(body_pose(data, self.root))
        return np.concatenate([apply(inverse @ body_pose(data, b), points=p) for b, p in self.points.items()])


def find_objects(simulator: Simulator) -> list[SceneObject]:
    """Every movable object and fixture that draws something, in LIBERO's order; costs about a tenth of a second."""
    problem, model = simulator.problem, simulator.sim.model._model
    names = [*problem.objects_dict, *problem.fixtures_dict]
    categories = _categories(problem.parsed_problem)
    found = [
        _read_object(model, name, category=categories[name], root=problem.obj_body_id[name])
        for name in names
        if name in problem.obj_body_id
    ]
    return [item for item in found if item.points]


def body_pose(data: Any, body: int) -> Array:
    """World pose (4,4) of a body."""
    return rigid(data.xmat[body].reshape(3, 3), translation=data.xpos[body])


def _categories(parsed_problem: dict[str, Any]) -> dict[str, str]:
    """Instance name -> its kind in plain words, from the task's BDDL file."""
    kinds = {**parsed_problem["fixtures"], **parsed_problem["objects"]}
    return {name: kind.replace("_", " ") for kind, instances in kinds.items() for name in instances}


def _read_object(model: Any, name: str, *, category: str, root: int) -> SceneObject:
    bodies = [body for body in range(model.nbody) if _is_inside(model, body, root)]
    points = {body: cloud for body in bodies if len(cloud := _body_points(model, body))}
    rigid_object = all(model.body_jntnum[body] == 0 for body in bodies if body != root)
    box = _static_box(model, points, root) if rigid_object and points else None
    geoms = np.isin(model.geom_bodyid, bodies)
    return SceneObject(name=name, category=category, root=root, geoms=geoms, points=points, box=box)


def _is_inside(model: Any, body: int, root: int) -> bool:
    while body > root:
        body = model.body_parentid[body]
    return body == root


def _static_box(model: Any, points: dict[int, Array], root: int) -> tuple[Array, Array]:
    """The box in the root's frame of bodies that are fixed to it."""
    return tight_box(np.concatenate([apply(_fixed_pose(model, b, root), points=p) for b, p in points.items()]))


def _fixed_pose(model: Any, body: int, root: int) -> Array:
    pose = np.eye(4)
    while body != root:
        step = rigid(matrix_from_quaternion(model.body_quat[body]), translation=model.body_pos[body])
        pose, body = step @ pose, model.body_parentid[body]
    return pose


def _body_points(model: Any, body: int) -> Array:
    """Corners (P,3) of the convex hull of everything drawn on one body, in its frame; (0,3) when nothing is."""
    first, count = model.body_geomadr[body], model.body_geomnum[body]
    clouds = [
        apply(rigid(matrix_from_quaternion(model.geom_quat[g]), translation=model.geom_pos[g]), points=cloud)
        for g in range(first, first + count)
        if model.geom_group[g] == VISUAL_GROUP and len(cloud := _geom_points(model, g))
    ]
    if not clouds:
        return np.zeros((0, 3))
    points = np.concatenate(clouds)
    return np.asarray(points[ConvexHull(points, qhull_options="QJ").vertices])


def _geom_points(model: Any, geom: int) -> Array:
    """Points (P,3) in the geom's frame that span it; round shapes are sampled finely on their rims."""
    kind, size = mujoco.mjtGeom(model.geom_type[geom]), model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        return np.asarray(model.mesh_vert[first : first + model.mesh_vertnum[mesh]], dtype=np.float64)
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return np.asarray(np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        ring = _circle() * size[0]
        return np.concatenate([np.c_[ring, np.full(len(ring), z)] for z in (-size[1], size[1])])
    if kind in {mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_ELLIPSOID}:
        return _round_points(kind, size)
    return np.zeros((0, 3))


def _circle() -> Array:
    angles = np.linspace(0, 2 * np.pi, _ROUND_STEPS, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _round_points(kind: Any, size: Array) -> Array:
    """Latitude rings and poles of a sphere, a capsule (radius, half length along z) or an ellipsoid."""
    heights = np.sin(np.linspace(-np.pi / 2, np.pi / 2, _ROUND_STEPS // 2 + 1))
    ball = np.concatenate([np.c_[_circle() * np.sqrt(1 - h * h), np.full(_ROUND_STEPS, h)] for h in heights])
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return np.asarray(ball * size)
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return np.asarray(ball * size[0])
    return np.asarray(ball * size[0] + np.sign(ball) * np.array([0, 0, size[1]]))
