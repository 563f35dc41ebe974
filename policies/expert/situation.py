"""What planning a move of one object looks at: the object, everything around it, and where it has to go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.clearance import collision_geoms, geom_boxes, obstacles
from vst_vla.policies.expert.geometry import Box, origin_of, origins
from vst_vla.policies.expert.heights import Heights, heights, heights_of
from vst_vla.policies.expert.spot import Relation, Spot, spot_of
from vst_vla.vla.contracts import Array

WINDOW = 0.16  # m around object and target that the height map covers


@dataclass(frozen=True, kw_only=True, eq=False)
class Situation:
    """One moment, seen by someone who wants to move an object."""

    origin: Array  # (3,) m, of the object's body
    rotation: Array  # (3,3) of the object's body
    middle: Array  # (2,) m, its centre of mass
    boxes: list[Box]  # of its collision shapes
    shape: Heights  # the object
    around: Heights  # everything else
    others: list[Box]  # everything else
    spot: Spot  # where the object has to be
    seen: Array  # (O,3) m, the origins of all objects
    shared: bool  # whether another object has to find room on the spot as well


def situation_of(simulator: Simulator, item: str, target: str, *, relation: Relation) -> Situation:
    """The situation of an object that has to be in or on a target (an object or a region)."""
    data, body = simulator.sim.data, simulator.problem.obj_body_id[item]
    bodies = np.flatnonzero(simulator.sim.model.body_rootid == body).tolist()
    boxes = geom_boxes(simulator, [geom for part in bodies for geom in collision_geoms(simulator, part)])
    others = obstacles(simulator, without=bodies)
    origin, spot = origin_of(simulator, item), spot_of(simulator, target, relation=relation)
    ends = np.stack([origin[:2], spot.middle[:2]])
    return Situation(
        origin=origin,
        rotation=np.array(data.body_xmat[body]).reshape(3, 3),
        middle=np.array(data.subtree_com[body][:2]),
        boxes=boxes,
        shape=heights_of(boxes),
        around=heights(others, low=ends.min(axis=0) - WINDOW, high=ends.max(axis=0) + WINDOW),
        others=others,
        spot=spot,
        seen=origins(simulator),
        shared=_is_shared(simulator, target),
    )


def _is_shared(simulator: Simulator, target: str) -> bool:
    """Whether the goal wants two objects on one region."""
    sharing = [goal for goal in simulator.goal if goal[0].lower() == "on" and goal[2] == target]
    return len(sharing) > 1 and target in simulator.problem.object_sites_dict
