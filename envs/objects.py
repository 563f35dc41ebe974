"""The objects of a LIBERO scene: their names, their bodies and geoms, and the boxes around what is drawn of them.

Parts are objects too: a drawer, a door or a knob is a body that moves inside a fixture, a handle the geoms on it that
LIBERO's models draw for the hand. They are named after the fixture, and come after all whole objects.

Letters in shapes: P points, G geoms of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import mujoco
import numpy as np
from scipy.spatial import ConvexHull

from vst_vla.envs.geometry import apply, matrix_from_quaternion, rigid, round_axis, tight_box
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

VISUAL_GROUP = 1
"""MuJoCo geom group of what is drawn; group 0 is robosuite's collision geometry."""

_ROUND_STEPS = 24
_PLACES = ("top", "middle", "bottom")


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneObject:
    """One object or fixture of the scene, or a part of one.

    `points` holds the outline of everything drawn, per body and in that body's frame; `box` is its box in the root
    body's frame when the object is one rigid body, None when it has joints inside (a drawer, a door).
    """

    name: str
    category: str
    root: int  # body id
    parent: int  # place in `find_objects`'s list of what this is a part of, -1 for a whole object
    geoms: Array  # (G,) bool, the model's geoms that belong to it
    points: dict[int, Array] = field(repr=False)  # body id -> (P,3) m
    box: tuple[Array, Array] | None  # pose (4,4), half extents (3,) m
    round_axis: int  # of the box, about which the object is round; -1 without one
    fixed: bool  # to the world: a fixture, or a part of one

    def pose(self, data: Any) -> tuple[Array, Array]:
        """The box now: world pose (4,4) and half extents (3,) in m."""
        pose, half_extents = self.box or tight_box(self._root_points(data))
        return body_pose(data, self.root) @ pose, half_extents

    def _root_points(self, data: Any) -> Array:
        inverse = np.linalg.inv(body_pose(data, self.root))
        return np.concatenate([apply(inverse @ body_pose(data, b), points=p) for b, p in self.points.items()])


def find_objects(simulator: Simulator) -> list[SceneObject]:
    """Every movable object and fixture that draws something, in LIBERO's order, then their parts.

    Costs about a tenth of a second.
    """
    problem, model = simulator.problem, simulator.sim.model._model
    names = [*problem.objects_dict, *problem.fixtures_dict]
    categories = _categories(problem.parsed_problem)
    found = [
        _read_object(model, name, category=categories[name], bodies=_subtree(model, problem.obj_body_id[name]))
        for name in names
        if name in problem.obj_body_id
    ]
    wholes = [item for item in found if item.points]
    return wholes + _find_parts(model, wholes)


def body_pose(data: Any, body: int) -> Array:
    """World pose (4,4) of a body."""
    return rigid(data.xmat[body].reshape(3, 3), translation=data.xpos[body])


def robot_geoms(simulator: Simulator) -> Array:
    """Geoms (ngeom,) bool of the arm, its mount and its hand."""
    model = simulator.sim.model._model
    root = model.body(simulator.problem.robots[0].robot_model.root_body).id
    return np.asarray(model.body_rootid[model.geom_bodyid] == root)


_SPOKEN = MappingProxyType({"cookies": "cookie box"})
"""Kinds whose files' name would be a plural in a sentence."""


def in_words(kind: str) -> str:
    """A kind of LIBERO's files as it reads in a sentence: "wooden_cabinet" -> "wooden cabinet"."""
    return _SPOKEN.get(kind, kind.replace("_", " "))


def _categories(parsed_problem: dict[str, Any]) -> dict[str, str]:
    """Instance name -> its kind in plain words, from the task's BDDL file."""
    kinds = {**parsed_problem["fixtures"], **parsed_problem["objects"]}
    return {name: in_words(kind) for kind, instances in kinds.items() for name in instances}


def _find_parts(model: Any, wholes: list[SceneObject]) -> list[SceneObject]:
    """Drawers, doors and knobs, each followed by its handle."""
    parts: list[SceneObject] = []
    for place, whole in enumerate(wholes):
        for body in _subtree(model, whole.root):
            if body == whole.root or not model.body_jntnum[body]:
                continue
            kind = _part_kind(model, body)
            name = f"{whole.name}_{kind.replace(' ', '_')}"
            part = _read_object(
                model, name, category=f"{kind} of the {whole.category}", bodies=_subtree(model, body), parent=place
            )
            parts.append(part)
            parts += _handle(model, part, kind, parent=len(wholes) + len(parts) - 1)
    return parts


def _part_kind(model: Any, body: int) -> str:
    """What a jointed body of a fixture is, by its joint: LIBERO's drawers slide, its doors and knobs turn."""
    joint = model.joint(model.body_jntadr[body])
    words = f"{model.body(body).name} {joint.name}"
    if model.jnt_type[joint.id] == mujoco.mjtJoint.mjJNT_SLIDE:
        kind = "drawer"
    else:
        kind = "knob" if "button" in words or "knob" in words else "door"
    place = next((place for place in _PLACES if place in words), "")
    return f"{place} {kind}".strip()


def _handle(model: Any, part: SceneObject, kind: str, *, parent: int) -> list[SceneObject]:
    """The part's handle: meshes of that name, or else the primitives on a body that is otherwise drawn by meshes."""
    drawn = np.flatnonzero(part.geoms & (model.geom_group == VISUAL_GROUP))
    named = [g for g in drawn if model.geom_dataid[g] >= 0 and "handle" in model.mesh(model.geom_dataid[g]).name]
    plain = [g for g in drawn if model.geom_dataid[g] < 0]
    geoms = named or (plain if len(plain) < len(drawn) else [])
    if not geoms:
        return []
    category = part.category.replace(kind, f"handle of the {kind}", 1)
    return [
        _read_object(model, f"{part.name}_handle", category=category, bodies=[part.root], parent=parent, geoms=geoms)
    ]


def _subtree(model: Any, root: int) -> list[int]:
    """A body and all that hang on it."""
    return [body for body in range(root, model.nbody) if _is_inside(model, body, root)]


def _read_object(
    model: Any,
    name: str,
    *,
    category: str,
    bodies: list[int],
    parent: int = -1,
    geoms: Sequence[int] | None = None,
) -> SceneObject:
    """An object made of these bodies, or of some of their geoms; the first body is its root."""
    root = bodies[0]
    chosen = np.isin(model.geom_bodyid, bodies)
    if geoms is not None:
        chosen = np.isin(np.arange(model.ngeom), geoms)
    points = {body: cloud for body in bodies if len(cloud := _body_points(model, body, chosen))}
    rigid_object = all(model.body_jntnum[body] == 0 for body in bodies if body != root)
    box = _static_box(model, points, root) if rigid_object and points else None
    return SceneObject(
        name=name,
        category=category,
        root=root,
        parent=parent,
        geoms=chosen,
        points=points,
        box=box,
        round_axis=_round_axis(model, points, root, box) if box else -1,
        fixed=not _floats(model, root),
    )


def _floats(model: Any, body: int) -> bool:
    """Whether a body, or what it belongs to, has a free joint."""
    free = model.jnt_bodyid[model.jnt_type == mujoco.mjtJoint.mjJNT_FREE]
    while body and body not in free:
        body = model.body_parentid[body]
    return bool(body)


def _is_inside(model: Any, body: int, root: int) -> bool:
    while body > root:
        body = model.body_parentid[body]
    return body == root


def _static_box(model: Any, points: dict[int, Array], root: int) -> tuple[Array, Array]:
    """The box in the root's frame of bodies that are fixed to it."""
    return tight_box(_fixed_points(model, points, root))


def _round_axis(model: Any, points: dict[int, Array], root: int, box: tuple[Array, Array]) -> int:
    return round_axis(apply(np.linalg.inv(box[0]), points=_fixed_points(model, points, root)))


def _fixed_points(model: Any, points: dict[int, Array], root: int) -> Array:
    return np.concatenate([apply(_fixed_pose(model, b, root), points=p) for b, p in points.items()])


def _fixed_pose(model: Any, body: int, root: int) -> Array:
    pose = np.eye(4)
    while body != root:
        step = rigid(matrix_from_quaternion(model.body_quat[body]), translation=model.body_pos[body])
        pose, body = step @ pose, model.body_parentid[body]
    return pose


def _body_points(model: Any, body: int, chosen: Array) -> Array:
    """Corners (P,3) of the convex hull of the chosen geoms drawn on one body, in its frame; (0,3) when none is."""
    first, count = model.body_geomadr[body], model.body_geomnum[body]
    clouds = [
        apply(rigid(matrix_from_quaternion(model.geom_quat[g]), translation=model.geom_pos[g]), points=cloud)
        for g in range(first, first + count)
        if chosen[g] and model.geom_group[g] == VISUAL_GROUP and len(cloud := _geom_points(model, g))
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
