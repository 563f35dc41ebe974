"""Where the hand and the things are, read from the simulator: world axes, z up, metres. Letter P: points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

GRIP_SITE = "gripper0_grip_site"
FOOT = "robot0_base"
FINGER_JOINTS = ("gripper0_finger_joint1", "gripper0_finger_joint2")
_CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Hand:
    """The gripper: the point between its fingertips and the axes of that point's frame."""

    position: Array  # (3,) m
    rotation: Array  # (3,3) columns: the closing direction, the direction across it, the direction of reach
    opening: float  # m between the fingers


@dataclass(frozen=True, kw_only=True, eq=False)
class Box:
    """The box of a thing's collision shapes, its sides along the axes of the thing's body."""

    center: Array  # (3,) m
    rotation: Array  # (3,3) columns are the box's axes
    half: Array  # (3,) m along these axes

    @property
    def top(self) -> float:
        """Height of the highest corner."""
        return float(self.center[2] + self._reach_up)

    @property
    def bottom(self) -> float:
        """Height of the lowest corner."""
        return float(self.center[2] - self._reach_up)

    @property
    def _reach_up(self) -> float:
        return float(np.abs(self.rotation[2]) @ self.half)

    def sides(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The two sides that lie most level, narrow one first: (half-width in m, heading in rad within [0, pi))."""
        upright = int(np.argmax(np.abs(self.rotation[2])))
        level = [i for i in range(3) if i != upright]
        headings = [float(np.arctan2(self.rotation[1, i], self.rotation[0, i]) % np.pi) for i in level]
        first, second = sorted(zip((float(self.half[i]) for i in level), headings, strict=True))
        return first, second


def foot_of(simulator: Simulator) -> Array:
    """Where the robot stands, (3,) m."""
    return np.array(simulator.sim.data.get_body_xpos(FOOT))


def hand_of(simulator: Simulator) -> Hand:
    """The gripper as it is now."""
    data = simulator.sim.data
    fingers = [float(data.get_joint_qpos(joint)) for joint in FINGER_JOINTS]
    return Hand(
        position=np.array(data.get_site_xpos(GRIP_SITE)),
        rotation=np.array(data.get_site_xmat(GRIP_SITE)),
        opening=fingers[0] - fingers[1],
    )


def box_of(simulator: Simulator, name: str) -> Box:
    """The box of one object instance, such as `alphabet_soup_1`, at its present pose."""
    body = simulator.problem.obj_body_id[name]
    points = _collision_corners(simulator, body)
    low, high = points.min(axis=0), points.max(axis=0)
    rotation = np.array(simulator.sim.data.body_xmat[body]).reshape(3, 3)
    center = simulator.sim.data.body_xpos[body] + rotation @ ((low + high) / 2)
    return Box(center=center, rotation=rotation, half=(high - low) / 2)


def origin_of(simulator: Simulator, name: str) -> Array:
    """The origin (3,) of an object's body, which LIBERO's predicates look at."""
    return np.array(simulator.sim.data.body_xpos[simulator.problem.obj_body_id[name]])


def origins(simulator: Simulator) -> Array:
    """The origins (O,3) of all objects."""
    return np.array([origin_of(simulator, name) for name in simulator.problem.objects_dict])


def region_center(simulator: Simulator, region: str) -> Array:
    """World position (3,) of a BDDL region, such as `basket_1_contain_region`."""
    return np.array(simulator.sim.data.get_site_xpos(region))


def _collision_corners(simulator: Simulator, body: int) -> Array:
    """Corners (P, 3), in the body's frame, of the boxes around each collision geom of the body and its children."""
    model, data = simulator.sim.model, simulator.sim.data
    own = (model.body_rootid[model.geom_bodyid] == body) & (model.geom_contype > 0)
    to_body = np.array(data.body_xmat[body]).reshape(3, 3)
    corners = []
    for geom in np.flatnonzero(own):
        middle, half = model.geom_aabb[geom][:3], model.geom_aabb[geom][3:]
        rotation = np.array(data.geom_xmat[geom]).reshape(3, 3)
        world = data.geom_xpos[geom] + (middle + _CORNERS * half) @ rotation.T
        corners.append((world - data.body_xpos[body]) @ to_body)
    return np.concatenate(corners)
