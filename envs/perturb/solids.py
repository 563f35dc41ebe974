"""The objects and fixtures of a scene as the physics has them: their bodies, geoms and corners.

Letters in shapes: P points, G geoms of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from vst_vla.envs.geometry import apply, matrix_from_quaternion, rigid
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

_CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """A movable object or a fixture.

    `points` are the corners of the boxes around its collision geoms, per body and in that body's frame.
    """

    name: str  # instance, such as "akita_black_bowl_1"
    kind: str  # in plain words, such as "akita black bowl"
    fixture: bool
    root: int  # body id
    geoms: Array  # (G,) bool, the model's geoms that belong to it
    points: dict[int, Array] = field(repr=False)  # body id -> (P,3) m

    def corners(self, data: Any) -> Array:
        """World points (P,3) in m that span it now."""
        poses = {body: rigid(data.xmat[body].reshape(3, 3), translation=data.xpos[body]) for body in self.points}
        return np.concatenate([apply(poses[body], points=cloud) for body, cloud in self.points.items()])


def read_solids(simulator: Simulator) -> list[Solid]:
    """Every movable object, then every fixture, in LIBERO's order."""
    problem, model = simulator.problem, simulator.sim.model._model
    kinds = {**problem.parsed_problem["fixtures"], **problem.parsed_problem["objects"]}
    kind_of = {name: kind.replace("_", " ") for kind, instances in kinds.items() for name in instances}
    solids = [
        _read(model, name, kind=kind_of[name], fixture=name in problem.fixtures_dict, root=problem.obj_body_id[name])
        for name in (*problem.objects_dict, *problem.fixtures_dict)
        if name in problem.obj_body_id
    ]
    return [solid for solid in solids if solid.points]


def _read(model: Any, name: str, *, kind: str, fixture: bool, root: int) -> Solid:
    geoms = model.body_rootid[model.geom_bodyid] == root
    bodies = np.unique(model.geom_bodyid[geoms & _collides(model)])
    points = {int(body): _cloud(model, body) for body in bodies}
    return Solid(name=name, kind=kind, fixture=fixture, root=root, geoms=geoms, points=points)


def _collides(model: Any) -> Array:
    """(G,) bool; the microwave's geoms are only ever touched: their contype is 0."""
    return np.asarray((model.geom_contype | model.geom_conaffinity) > 0)


def _cloud(model: Any, body: int) -> Array:
    """Corners (P,3), in the body's frame, of the boxes around its geoms that collide."""
    geoms = np.flatnonzero((model.geom_bodyid == body) & _collides(model))
    return np.concatenate([_corners(model, geom) for geom in geoms])


def _corners(model: Any, geom: int) -> Array:
    middle, half = model.geom_aabb[geom][:3], model.geom_aabb[geom][3:]
    pose = rigid(matrix_from_quaternion(model.geom_quat[geom]), translation=model.geom_pos[geom])
    return apply(pose, points=middle + _CORNERS * half)
