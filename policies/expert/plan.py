"""How to move an object: a grasp and a place to put it down that go together. World axes, metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.clearance import collision_geoms, geom_boxes, obstacles
from vst_vla.policies.expert.geometry import Box, origins
from vst_vla.policies.expert.grasp import HOME_HEADING, Grasp, distinct, find_grasps, top_grasp
from vst_vla.policies.expert.handroom import HandRoom, axes_of
from vst_vla.policies.expert.heights import Heights, heights, heights_of
from vst_vla.policies.expert.rest import Rest, find_rests
from vst_vla.policies.expert.spot import Relation, spot_of
from vst_vla.vla.contracts import Array

MOST_GRASPS, MOST_RESTS = 24, 60
WINDOW = 0.16  # m around object and target that the height map covers
RELEASE_ROOM = 0.006  # m kept between the hand and everything when it opens
DROP_COST = 10.0  # per m that the object has to fall, because the hand fits no lower
FARTHEST_TURN = 1.9  # rad from the start pose's heading that the wrist can be turned
FAILED_COST = 1.0  # for a grasp like one that failed


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Where to take an object and where to let it go."""

    grasp: Grasp
    start: Array  # (3,) m, the object's origin when this was planned
    seen: Array  # (O,3) m, the origins of all objects then
    spot: Array  # (3,) m, the target's middle then
    origin: Array  # (3,) m, the object's origin when it is let go
    turn: float  # rad, by which it is turned on its way
    around: Heights  # everything but the object
    scene: Heights  # with the object


def plan_move(
    simulator: Simulator, item: str, target: str, *, relation: Relation, failed: Sequence[Array] = ()
) -> Plan:
    """The best pair of a grasp and a place.

    Args:
        simulator: the scene.
        item: the object's instance name.
        target: the object or the region that it has to be in or on.
        relation: which of the two.
        failed: grasps that did not hold, (3,) m from the object's origin to the hand.
    """
    data, body = simulator.sim.data, simulator.problem.obj_body_id[item]
    origin, spot = np.array(data.body_xpos[body]), spot_of(simulator, target, relation=relation)
    boxes = boxes_of(simulator, item)
    ends = np.stack([origin[:2], spot.middle[:2]])
    low, high = ends.min(axis=0) - WINDOW, ends.max(axis=0) + WINDOW
    around = heights(obstacles(simulator, without=bodies_of(simulator, item)), low=low, high=high)
    shape = heights_of(boxes)
    middle = np.array(data.subtree_com[body][:2])
    grasps = find_grasps(shape, around, middle=middle) or [top_grasp(shape, middle=middle)]
    rests = find_rests(
        shape,
        around,
        spot,
        origin=origin,
        turns=_turns(simulator, body, spot.rotation),
        apart=_apart(simulator, item, target, boxes),
    )
    grasp, rest, drop = _best_pair(distinct(grasps, most=MOST_GRASPS), rests[:MOST_RESTS], around, origin, failed)
    return Plan(
        grasp=grasp,
        start=origin,
        seen=origins(simulator),
        spot=spot.middle,
        origin=rest.origin + np.array([0, 0, drop]),
        turn=rest.turn,
        around=around,
        scene=around.with_top_of(shape),
    )


def bodies_of(simulator: Simulator, name: str) -> list[int]:
    """An object's body and the bodies on it."""
    roots = simulator.sim.model.body_rootid
    return [int(body) for body in np.flatnonzero(roots == simulator.problem.obj_body_id[name])]


def boxes_of(simulator: Simulator, name: str) -> list[Box]:
    """The boxes of an object's collision shapes."""
    geoms = [geom for body in bodies_of(simulator, name) for geom in collision_geoms(simulator, body)]
    return geom_boxes(simulator, geoms)


def _best_pair(
    grasps: Sequence[Grasp], rests: Sequence[Rest], around: Heights, origin: Array, failed: Sequence[Array]
) -> tuple[Grasp, Rest, float]:
    """A grasp, a place, and how far above it the object is let go, m."""
    room = HandRoom(around, extra=RELEASE_ROOM)
    best: tuple[Grasp, Rest, float] | None = None
    best_cost = np.inf
    for grasp in grasps:
        held = grasp.position - origin
        cost = grasp.cost + FAILED_COST * sum(float(np.linalg.norm(held - other)) < 0.015 for other in failed)
        for rest, drop in zip(rests, _drops(grasp, rests, room, held), strict=True):
            total = cost + rest.cost + DROP_COST * drop
            if total < best_cost and abs(grasp.heading + rest.turn - HOME_HEADING) < FARTHEST_TURN:
                best_cost, best = total, (grasp, rest, float(drop))
    assert best is not None  # turn 0 is always among the rests, or the only one is turn 0
    return best


def _drops(grasp: Grasp, rests: Sequence[Rest], room: HandRoom, held: Array) -> Array:
    """How far above each rest (N,) the hand has to stay to open."""
    drops = np.zeros(len(rests))
    for turn in {rest.turn for rest in rests}:
        chosen = [i for i, rest in enumerate(rests) if rest.turn == turn]
        cosine, sine = np.cos(turn), np.sin(turn)
        offset = np.array([cosine * held[0] - sine * held[1], sine * held[0] + cosine * held[1], held[2]])
        hands = np.stack([rests[i].origin + offset for i in chosen])
        drops[chosen] = np.clip(room.floor(hands[:, :2], axes_of(grasp.heading + turn)) - hands[:, 2], 0.0, 1.0)
    return drops


def _turns(simulator: Simulator, body: int, target: Array) -> list[float]:
    """No turn, and those that bring the object's level axes in line with the target's."""
    own = np.array(simulator.sim.data.body_xmat[body]).reshape(3, 3)
    apart = (_level_heading(target) - _level_heading(own)) % (np.pi / 2)
    return [0.0, apart, apart - np.pi / 2]


def _level_heading(rotation: Array) -> float:
    """Heading in rad of the axis that lies most level."""
    axis = rotation[:, int(np.argmin(np.abs(rotation[2])))]
    return float(np.arctan2(axis[1], axis[0]))


def _apart(simulator: Simulator, item: str, target: str, boxes: Sequence[Box]) -> Array | None:
    """Half-widths (2,) of the object when another one of its kind has to lie on the same region, else None."""
    goals = simulator.problem.parsed_problem["goal_state"]
    sharing = [goal[1] for goal in goals if len(goal) == 3 and goal[2] == target]
    if len(sharing) < 2 or target not in simulator.problem.object_sites_dict or goals[0][0] == "in":
        return None
    reach = np.array(
        [[box.center[:2] - r, box.center[:2] + r] for box in boxes for r in [np.abs(box.rotation[:2]) @ box.half]]
    )
    return np.asarray((reach[:, 1].max(axis=0) - reach[:, 0].min(axis=0)) / 2)
