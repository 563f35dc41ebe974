"""Which grasp and which place go together when an object is put down from above. Letters as in rest.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.policies.expert.grasp import HOME_HEADING, Grasp, distinct
from vst_vla.policies.expert.handroom import HandRoom, axes_of
from vst_vla.policies.expert.heights import heights, heights_of
from vst_vla.policies.expert.motion import pointing_down
from vst_vla.policies.expert.rest import Rest, find_rests
from vst_vla.policies.expert.situation import Situation
from vst_vla.vla.contracts import Array

MOST_GRASPS, MOST_RESTS = 24, 60
FINE, FINE_STEP = 0.001, 0.004  # m, cells and positions of the second look at a spot without room
TIGHT_GAPS = (0.004, 0.001)  # m kept to walls then
RELEASE_ROOM = 0.006  # m kept between the hand and everything when it opens
DROP_COST = 10.0  # per m that the object has to fall, because the hand fits no lower
FARTHEST_TURN = 1.9  # rad from the start pose's heading that the wrist can be turned
WRENCHED_COST = 5.0  # for a turn beyond


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """One way to move an object."""

    position: Array  # (3,) m, of the point between the fingertips when they close
    rotation: Array  # (3,3) of the hand then, columns as in `Hand`
    turn: float  # rad about the world's z axis, by which object and hand are turned on their way
    origin: Array  # (3,) m, the object's origin when it is let go
    slide: Array  # (3,) m, the last, level part of the object's way; zero when it is put down from above


def put_down(seen: Situation, grasps: Sequence[Grasp]) -> Way:
    """The best pair of a grasp and a place; over the spot's middle when there is no place."""
    rests = _rests(seen) or _tight_rests(seen) or [Rest(origin=seen.spot.middle, turn=0.0, cost=0.0)]
    room = HandRoom(seen.around, extra=RELEASE_ROOM)
    pairs = [
        (_cost(grasp, rest, float(drop)), number, grasp, rest, float(drop))
        for number, grasp in enumerate(distinct(grasps, most=MOST_GRASPS))
        for rest, drop in zip(rests, _drops(grasp, rests, room, seen.origin), strict=True)
    ]
    _, _, grasp, rest, drop = min(pairs, key=lambda pair: pair[:2])
    return Way(
        position=grasp.position,
        rotation=pointing_down(grasp.heading),
        turn=rest.turn,
        origin=np.add(rest.origin, (0.0, 0.0, drop)),
        slide=np.zeros(3),
    )


def _rests(seen: Situation) -> list[Rest]:
    turns = _turns(seen.rotation, seen.spot.rotation)
    apart = _half_widths(seen) if seen.shared else None
    rests = find_rests(seen.shape, seen.around, seen.spot, origin=seen.origin, turns=turns, apart=apart)
    return rests[:MOST_RESTS]


def _tight_rests(seen: Situation) -> list[Rest]:
    """As `_rests`, on a finer map and as it is turned now: a bowl between a drawer's front and the handles above it."""
    positions, shape = seen.spot.positions(step=FINE_STEP), heights_of(seen.boxes, pitch=FINE)
    reach = np.abs(shape.cells() - seen.origin[:2]).max() + TIGHT_GAPS[0]
    around = heights(seen.others, low=positions.min(axis=0) - reach, high=positions.max(axis=0) + reach, pitch=FINE)
    found = (
        find_rests(shape, around, seen.spot, origin=seen.origin, turns=[0.0], apart=None, gap=gap, step=FINE_STEP)
        for gap in TIGHT_GAPS
    )
    return next((rests[:MOST_RESTS] for rests in found if rests), [])


def _cost(grasp: Grasp, rest: Rest, drop: float) -> float:
    wrenched = abs(grasp.heading + rest.turn - HOME_HEADING) > FARTHEST_TURN
    return grasp.cost + rest.cost + DROP_COST * drop + WRENCHED_COST * wrenched


def _drops(grasp: Grasp, rests: Sequence[Rest], room: HandRoom, origin: Array) -> Array:
    """How far above each rest (N,) the hand has to stay to open."""
    held, drops = grasp.position - origin, np.zeros(len(rests))
    for turn in {rest.turn for rest in rests}:
        chosen = [i for i, rest in enumerate(rests) if rest.turn == turn]
        cosine, sine = np.cos(turn), np.sin(turn)
        offset = np.array([cosine * held[0] - sine * held[1], sine * held[0] + cosine * held[1], held[2]])
        hands = np.stack([rests[i].origin + offset for i in chosen])
        drops[chosen] = np.clip(room.floor(hands[:, :2], axes_of(grasp.heading + turn)) - hands[:, 2], 0.0, 1.0)
    return drops


def _turns(own: Array, target: Array) -> list[float]:
    """No turn, and those that bring the object's level axes in line with the target's."""
    apart = (_level_heading(target) - _level_heading(own)) % (np.pi / 2)
    return [0.0, apart, apart - np.pi / 2]


def _level_heading(rotation: Array) -> float:
    """Heading in rad of the axis that lies most level."""
    axis = rotation[:, int(np.argmin(np.abs(rotation[2])))]
    return float(np.arctan2(axis[1], axis[0]))


def _half_widths(seen: Situation) -> Array:
    """Half of the object's extent (2,) along the world's axes."""
    cells = seen.shape.cells()
    return np.asarray((cells.max(axis=0) - cells.min(axis=0)) / 2)
