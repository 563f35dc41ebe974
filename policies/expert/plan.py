"""How to move an object: a grasp and a place that go together. World axes, metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.aside import step_aside
from vst_vla.policies.expert.grasp import Grasp, find_grasps, top_grasp
from vst_vla.policies.expert.heights import Heights
from vst_vla.policies.expert.insert import insert
from vst_vla.policies.expert.put_down import Way, put_down
from vst_vla.policies.expert.situation import situation_of
from vst_vla.policies.expert.spot import Relation
from vst_vla.vla.contracts import Array

FAILED_COST = 1.0  # for a grasp like one that failed
LIKE = 0.015  # m between two grasps of one kind


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Where to take an object and where to let it go."""

    way: Way
    aside: Array  # (3,) m, by which the object is moved before it is lifted
    start: Array  # (3,) m, the object's origin when this was planned
    seen: Array  # (O,3) m, the origins of all objects then
    spot: Array  # (3,) m, the target's middle then
    around: Heights  # everything but the object
    scene: Heights  # with the object


def plan_move(
    simulator: Simulator, item: str, target: str, *, relation: Relation, failed: Sequence[Array] = ()
) -> Plan:
    """The best way to get an object in or on something: from above, or, under a roof, from the open side.

    Args:
        simulator: the scene.
        item: the object's instance name.
        target: the object or the region that it has to be in or on.
        relation: which of the two.
        failed: grasps that did not hold, (3,) m from the object's origin to the hand.
    """
    seen = situation_of(simulator, item, target, relation=relation)
    found = find_grasps(seen.shape, seen.around, middle=seen.middle) or [top_grasp(seen.shape, middle=seen.middle)]
    grasps = sorted((_judged(grasp, seen.origin, failed) for grasp in found), key=lambda grasp: grasp.cost)
    return Plan(
        way=insert(seen, grasps) or put_down(seen, grasps),
        aside=step_aside(seen),
        start=seen.origin,
        seen=seen.seen,
        spot=seen.spot.middle,
        around=seen.around,
        scene=seen.around.with_top_of(seen.shape),
    )


def _judged(grasp: Grasp, origin: Array, failed: Sequence[Array]) -> Grasp:
    """The grasp, dearer when one like it failed before."""
    alike = sum(float(np.linalg.norm(grasp.position - origin - other)) < LIKE for other in failed)
    return Grasp(position=grasp.position, heading=grasp.heading, cost=grasp.cost + FAILED_COST * alike)
