"""Whether the hand has room: boxes around its parts and around everything that it may hit. World axes, metres."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.geometry import Box
from vst_vla.policies.expert.motion import pointing_down
from vst_vla.vla.contracts import Array

PALM_CENTER, PALM_HALF = (0.0, 0.0, -0.075), (0.102, 0.032, 0.049)
FINGERS_CENTER, FINGERS_HALF = (0.0, 0.0, -0.018), (0.060, 0.011, 0.030)
"""Boxes around the hand and around both open fingers in `Hand`'s frame, measured on robosuite's Panda gripper."""
START_ROTATION = pointing_down(np.pi / 2)
"""The hand in LIBERO's start pose."""
ROBOT_PREFIXES = ("robot0_", "gripper0_", "mount0_")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """Where the hand should be."""

    position: Array  # (3,) m, of the point between the fingertips
    rotation: Array  # (3,3) columns as in `Hand`

    @property
    def reach(self) -> Array:
        """Unit vector (3,) along the fingers, away from the palm."""
        return np.asarray(self.rotation[:, 2])

    def moved(self, shift: Array) -> Pose:
        """The same rotation, `shift` (3,) m further."""
        return Pose(position=self.position + shift, rotation=self.rotation)

    def backed(self, distance: float) -> Pose:
        """`distance` m before it, along the direction of reach."""
        return self.moved(-distance * self.reach)


def hand_boxes(pose: Pose) -> list[Box]:
    """The palm's box and that around the open fingers, at a pose."""
    parts = ((PALM_CENTER, PALM_HALF), (FINGERS_CENTER, FINGERS_HALF))
    return [
        Box(center=pose.position + pose.rotation @ np.array(center), rotation=pose.rotation, half=np.array(half))
        for center, half in parts
    ]


def geom_boxes(simulator: Simulator, geoms: Iterable[int]) -> list[Box]:
    """The box of each geom at its present pose, along the geom's own axes."""
    model, data = simulator.sim.model, simulator.sim.data
    boxes = []
    for geom in geoms:
        rotation = np.array(data.geom_xmat[geom]).reshape(3, 3)
        center = data.geom_xpos[geom] + rotation @ model.geom_aabb[geom][:3]
        boxes.append(Box(center=center, rotation=rotation, half=np.array(model.geom_aabb[geom][3:])))
    return boxes


def collision_geoms(simulator: Simulator, body: int) -> list[int]:
    """The geoms of one body (not of its children) that collide."""
    model = simulator.sim.model
    collides = (model.geom_contype > 0) | (model.geom_conaffinity > 0)
    return [int(geom) for geom in np.flatnonzero(collides & (model.geom_bodyid == body))]


def obstacles(simulator: Simulator, *, without: Collection[int] = ()) -> list[Box]:
    """Everything that collides but the robot itself and the bodies in `without`; planes and the floor are left out."""
    model = simulator.sim.model
    bodies = [
        body
        for body in range(1, model.nbody)
        if body not in without and not model.body_id2name(body).startswith(ROBOT_PREFIXES)
    ]
    return [box for body in bodies for box in geom_boxes(simulator, collision_geoms(simulator, body))]


def is_clear(pose: Pose, around: Sequence[Box]) -> bool:
    """Whether the palm touches none of the boxes; the fingers may, they are there to touch."""
    palm = hand_boxes(pose)[0]
    return not any(overlap(palm, box) for box in around)


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes intersect (separating axis test)."""
    axes = [*a.rotation.T, *b.rotation.T, *(np.cross(u, v) for u in a.rotation.T for v in b.rotation.T)]
    apart = b.center - a.center
    for axis in axes:
        reach = np.abs(axis @ a.rotation) @ a.half + np.abs(axis @ b.rotation) @ b.half
        if abs(float(axis @ apart)) > reach + 1e-12:
            return False
    return True


def grip_rotation(*, reach: Array, closing: Array) -> Array:
    """Rotation (3,3) of a hand that reaches and closes along unit vectors (3,), with the wrist least turned.

    Of the two that only swap the fingers, it is the one nearer to the start pose.
    """
    one, other = (np.stack([s * closing, np.cross(reach, s * closing), reach], axis=1) for s in (1.0, -1.0))
    return min(one, other, key=lambda rotation: angle_between(rotation, START_ROTATION))


def angle_between(a: Array, b: Array) -> float:
    """Angle in rad from one rotation (3,3) to another."""
    return float(np.arccos(np.clip((np.sum(a * b) - 1) / 2, -1.0, 1.0)))
