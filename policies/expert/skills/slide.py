"""Shifts a flat thing over the table, between two open fingers that come from behind."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.approach import NEAR_NOISE, Approach, Retreat
from vst_vla.policies.expert.articulation import turned
from vst_vla.policies.expert.clearance import FINGERS_HALF, Pose, grip_rotation, hand_boxes, obstacles, overlap
from vst_vla.policies.expert.geometry import Box, Hand, box_of, hand_of, region_center
from vst_vla.policies.expert.motion import OPEN, steer
from vst_vla.vla.contracts import Array

SPREAD = 0.042  # m from the middle of the open hand to each finger's inside
TIP = 0.014  # m above the table of the point between the fingertips
BEFORE = 0.015  # m between fingers and thing when the push begins
LEAD = 0.05  # m by which the hand is asked to go ahead
CLOSE_ENOUGH = 0.015  # m from where the push begins
PROGRESS, PATIENCE = 0.004, 12  # m that the thing has to come nearer in so many steps, else it is stuck
SLIP = 0.08  # m from there at which it starts over
WIDE, LOW = 0.04, 0.03  # m of half-width above which and of height below which a thing is flat
LEANS = np.deg2rad([0, 10, 20, 30, 40, 50])
DESCENT = (0.12, 0.08, 0.04, 0.0)  # m before the place where the push begins, at which the hand should have room
STOPS = 6  # places along the way at which the palm should


class Phase(Enum):
    """What the hand is about to do."""

    REACH = "reach"
    PUSH = "push"
    RETREAT = "retreat"


class Slide:
    """`on(item, target)` for something flat and round, such as a plate, and a place on the table.

    The thing lies against both fingers, so it cannot turn away from one.

    Args:
        item: the object's instance name.
        target: the region that it has to lie on.
    """

    def __init__(self, *, item: str, target: str) -> None:
        self.item = item
        self.target = target
        self.attempts = 1
        self.phase = Phase.REACH
        self._approach = Approach()
        self._retreat = Retreat()
        self._lean: float | None = None  # rad, chosen when the push begins
        self._nearest = np.inf  # m from the target that the thing has come
        self._stalled = 0  # steps since it came nearer

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that the present phase bears, in action units."""
        return self._approach.noise_scale if self.phase is Phase.REACH else NEAR_NOISE

    @property
    def busy(self) -> bool:
        """Whether the hand is still at the thing."""
        return self.phase is not Phase.REACH

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        hand, item = hand_of(simulator), box_of(simulator, self.item)
        target = region_center(simulator, self.target)
        way = direction(item.center, target)
        if self._lean is None:
            body = simulator.problem.obj_body_id[self.item]
            self._lean = roomiest_lean(simulator, item, target=target, without=body)
        pose = push_pose(item, way, lean=self._lean)
        self._watch(float(np.linalg.norm((target - item.center)[:2])))
        self._choose_phase(hand, pose, done=simulator.holds(("on", self.item, self.target)))
        match self.phase:
            case Phase.REACH:
                return self._approach.act(simulator, hand, pose, grip=OPEN)
            case Phase.PUSH:
                return steer(hand, position=pose.position + LEAD * way, rotation=pose.rotation, grip=OPEN)
        return self._retreat.act(hand)

    def _watch(self, left: float) -> None:
        """Notes whether the push still gets the thing nearer, which has `left` m to go."""
        moved = self.phase is not Phase.PUSH or left < self._nearest - PROGRESS
        self._nearest = left if moved else self._nearest
        self._stalled = 0 if moved else self._stalled + 1

    def _choose_phase(self, hand: Hand, pose: Pose, *, done: bool) -> None:
        apart = float(np.linalg.norm(pose.position - hand.position))
        match self.phase:
            case Phase.REACH if apart < CLOSE_ENOUGH and not done:
                self.phase = Phase.PUSH
            case Phase.PUSH if done or apart > SLIP or self._stalled > PATIENCE:
                self.phase, self._retreat = Phase.RETREAT, Retreat()
                self.attempts += not done
            case Phase.RETREAT if self._retreat.done:
                self.phase, self._approach, self._lean = Phase.REACH, Approach(), None


def is_flat(item: Box) -> bool:
    """Whether a thing is too wide for the fingers and too low for them to take its rim surely."""
    return item.sides()[0][0] > WIDE and item.top - item.bottom < LOW


def push_pose(item: Box, way: Array, *, lean: float) -> Pose:
    """The open hand behind the thing, seen along the way (3,), leaning over it by `lean` rad."""
    radius = item.sides()[0][0]
    behind = np.sqrt(max(0.0, radius**2 - SPREAD**2)) + FINGERS_HALF[1] + BEFORE
    across = np.cross([0.0, 0.0, 1.0], way)
    reach = turned(across, lean) @ np.array([0.0, 0.0, -1.0])
    position = np.array([*(item.center - behind * way)[:2], item.bottom + TIP])
    return Pose(position=position, rotation=grip_rotation(reach=reach, closing=across))


def roomiest_lean(simulator: Simulator, item: Box, *, target: Array, without: int) -> float:
    """The lean (rad) with which the hand meets least on its way down, then over to the target; the smallest of equals.

    Args:
        simulator: the scene.
        item: the thing to shift.
        target: where the thing goes, (3,) m.
        without: the thing's body, which the palm may come near.
    """
    around = obstacles(simulator, without=[without])
    way = direction(item.center, target)
    whole = float(np.linalg.norm((target - item.center)[:2]))

    def met(lean: float) -> tuple[int, int]:
        pose = push_pose(item, way, lean=lean)
        down = [part for back in DESCENT for part in hand_boxes(pose.backed(back))]
        over = [hand_boxes(pose.moved(share * whole * way))[0] for share in np.linspace(0, 1, STOPS)]
        return _hits(down, around), _hits(over, around)

    return float(min(LEANS, key=met))


def _hits(parts: Sequence[Box], around: Sequence[Box]) -> int:
    """How many of the hand's parts touch something."""
    return sum(any(overlap(part, box) for box in around) for part in parts)


def direction(start: Array, end: Array) -> Array:
    """Unit vector (3,), level, from one point (3,) to another."""
    way = np.array([*(end - start)[:2], 0.0])
    return way / max(float(np.linalg.norm(way)), 1e-6)
