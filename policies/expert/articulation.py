"""Drawers, doors and knobs: their joints, read from the simulator, and what LIBERO calls open, closed, on and off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.clearance import collision_geoms, geom_boxes
from vst_vla.policies.expert.geometry import Box
from vst_vla.vla.contracts import Array, near_miss

RANGES = {
    "open": "default_open_ranges",
    "close": "default_close_ranges",
    "turnon": "default_turnon_ranges",
    "turnoff": "default_turnoff_ranges",
}
"""The predicates about joints, and where LIBERO's articulated objects say what they mean."""
AJAR = 0.006  # m that a drawer may stay short of its stop
_HINGE = 3  # mujoco.mjtJoint.mjJNT_HINGE


@dataclass(frozen=True, kw_only=True, eq=False)
class Joint:
    """One joint of a fixture at one moment, seen by someone who wants to move it one way."""

    name: str
    body: int  # what it moves
    value: float  # m or rad
    hinge: bool  # else it slides
    axis: Array  # (3,) unit vector in the world; the way that is wanted is positive about or along it
    anchor: Array  # (3,) m, a point on the axis
    rest: float  # m or rad to the joint's limit, the wanted way

    def way(self, point: Array) -> Array:
        """How a point (3,) of the moving part moves for each unit of the joint: (3,), m per m or m per rad."""
        return np.cross(self.axis, point - self.anchor) if self.hinge else self.axis

    def carried(self, point: Array, by: float) -> Array:
        """Where a point (3,) of the moving part is after the joint moved on by `by`."""
        if not self.hinge:
            return point + by * self.axis
        return self.anchor + turned(self.axis, by) @ (point - self.anchor)


def wanted_joint(simulator: Simulator, target: str, *, predicate: str) -> Joint:
    """The joint to move so that `predicate(target)` holds: the first one that LIBERO would not count yet.

    Where it holds already, the wanted way leads on to the joint's limit.

    Args:
        simulator: the scene.
        target: a fixture, such as `flat_stove_1`, or a region that moves, such as `wooden_cabinet_1_top_region`.
        predicate: a key of `RANGES`.
    """
    low, high = wanted_range(simulator, target, predicate=predicate)
    joints = [_read(simulator, name, wanted=(low, high)) for name in joint_names(simulator, target)]
    return next((joint for joint in joints if not low <= joint.value <= high), joints[0])


def joint_names(simulator: Simulator, target: str) -> list[str]:
    """Names of the joints behind a BDDL name; empty for a thing without any, and for one that moves freely."""
    problem = simulator.problem
    if target in problem.object_sites_dict:
        return list(problem.object_sites_dict[target].joints or ())
    return list(problem.get_object(target).joints) if target in problem.fixtures_dict else []


def wanted_range(simulator: Simulator, target: str, *, predicate: str) -> tuple[float, float]:
    """The joint values (m or rad) between which LIBERO says that the predicate holds; empty tuple lists raise.

    Raises:
        ValueError: for a thing that cannot be opened, closed or turned.
    """
    problem = simulator.problem
    sites = problem.object_sites_dict
    owner = sites[target].parent_name if target in sites else target
    properties = getattr(problem.get_object(owner), "object_properties", {}) if joint_names(simulator, target) else {}
    limits = properties.get("articulation", {}).get(RANGES[predicate], [])
    if not limits:
        names = [name for name in (*problem.fixtures_dict, *sites) if joint_names(simulator, name)]
        raise ValueError(f"nothing about '{target}' can be moved by {predicate}: {near_miss(target, names)}")
    return float(min(limits)), float(max(limits))


def is_ajar(simulator: Simulator, target: str) -> bool:
    """Whether a drawer that LIBERO calls open comes out further; False for a door."""
    joint = wanted_joint(simulator, target, predicate="open")
    return not joint.hinge and joint.rest > AJAR


def moving_boxes(simulator: Simulator, joint: Joint) -> list[Box]:
    """The boxes of the collision geoms of the part that a joint moves."""
    return geom_boxes(simulator, collision_geoms(simulator, joint.body))


def handle_of(simulator: Simulator, joint: Joint, *, outwards: float) -> Box:
    """The part's piece that stands out furthest: a drawer's or a door's handle.

    Args:
        simulator: the scene.
        joint: what moves the part.
        outwards: +1 when the joint's wanted way leads out of the fixture, -1 when it leads in.
    """
    boxes = moving_boxes(simulator, joint)
    middle = np.mean([box.center for box in boxes], axis=0)
    way = outwards * joint.way(middle) / np.linalg.norm(joint.way(middle))
    return max(boxes, key=lambda box: float(way @ box.center + np.abs(way @ box.rotation) @ box.half))


def turned(axis: Array, angle: float) -> Array:
    """Rotation (3,3) by `angle` rad about a unit vector (3,)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def _read(simulator: Simulator, name: str, *, wanted: tuple[float, float]) -> Joint:
    model, data = simulator.sim.model, simulator.sim.data
    index = model.joint_name2id(name)
    value = float(data.get_joint_qpos(name))
    low, high = model.jnt_range[index]
    toward = sum(wanted) / 2
    if wanted[0] <= value <= wanted[1]:
        sign = 1.0 if high - toward < toward - low else -1.0
    else:
        sign = 1.0 if toward > value else -1.0
    return Joint(
        name=name,
        body=int(model.jnt_bodyid[index]),
        value=value,
        hinge=int(model.jnt_type[index]) == _HINGE,
        axis=sign * np.array(data.xaxis[index]),
        anchor=np.array(data.xanchor[index]),
        rest=float(high - value if sign > 0 else value - low),
    )
