"""Picks an object up between two fingers and lets it go above an open container."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.geometry import Box, Hand, box_of, boxes_around, hand_of, region_center, region_owner
from vst_vla.policies.expert.grasp import HOME_HEADING, Grasp, choose_grasp
from vst_vla.policies.expert.motion import CLOSE, OPEN, servo
from vst_vla.vla.contracts import Array

Relation = Literal["in", "on"]
"""The predicates of BDDL that placing reaches."""
FREE_NOISE, NEAR_NOISE = 0.25, 0.1
HOVER = 0.09  # m above the grasp from which the hand comes down
FUNNEL = 4.0  # m of height kept for each metre beside the grasp
NEAR = 0.05  # m from the grasp below which exploration noise is small
CLOSE_ENOUGH = 0.01  # m from the grasp at which the fingers close
CLOSING_STEPS = 6
CLEARANCE = 0.05  # m between a carried object and the container's rim
EARLY = 0.05  # m below the carrying height from which the hand already moves sideways
ABOVE = 0.01  # m from the container's axis within which the fingers open
STUCK_STEPS = 12  # after which an object that hangs on an open finger is shaken off
SHAKE = 0.05  # m to either side, for two steps each
RELEASE_STEPS = 40  # after which an object that did not land is picked up again
SLIP = 0.04  # m an object may move in the hand before the grasp counts as lost


class Phase(Enum):
    """What the hand is about to do."""

    REACH = "reach"
    CLOSE = "close"
    CARRY = "carry"
    RELEASE = "release"


class PickPlace:
    """`in(item, target)` or `on(item, target)`.

    Grasps across the object's narrow side at the end of a funnel, lifts it above the rim, lets go over the middle;
    starts over from where the object is now when it slips out or misses.

    Args:
        item: the object's instance name.
        target: the object or the BDDL region that it has to be in or on.
        relation: which of the two.
    """

    def __init__(self, *, item: str, target: str, relation: Relation) -> None:
        self.item = item
        self.target = target
        self.relation = relation
        self.attempts = 1
        self.phase = Phase.REACH
        self._distance = np.inf  # m to the grasp
        self._target: Array = np.zeros(3)  # where the hand is held while the fingers close or open
        self._grasp = Grasp(position=np.zeros(3), heading=HOME_HEADING)
        self._held: Array = np.zeros(3)  # from the fingertips to the object's centre when the fingers had closed
        self._waited = 0  # steps in the present phase

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that the present phase bears, in action units."""
        near = self.phase in (Phase.CLOSE, Phase.RELEASE) or self._distance < NEAR
        return NEAR_NOISE if near else FREE_NOISE

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        hand, item = hand_of(simulator), box_of(simulator, self.item)
        if self.phase is Phase.REACH:
            self._grasp = choose_grasp(item, boxes_around(simulator, self.item))
        self._distance = float(np.linalg.norm(self._grasp.position - hand.position))
        self._choose_phase(simulator, hand, item)
        self._waited += 1
        match self.phase:
            case Phase.REACH:
                self._target = _down_a_funnel(hand, self._grasp.position)
            case Phase.CARRY:
                self._target = self._towards_container(simulator, hand, item)
            case Phase.RELEASE if self._waited > STUCK_STEPS and self._hangs(hand, item):
                side = SHAKE if self._waited // 2 % 2 else -SHAKE
                self._target = hand.position + side * hand.rotation[:, 0]
        grip = CLOSE if self.phase in (Phase.CLOSE, Phase.CARRY) else OPEN
        return servo(hand, position=self._target, heading=self._grasp.heading, grip=grip)

    def _choose_phase(self, simulator: Simulator, hand: Hand, item: Box) -> None:
        match self.phase:
            case Phase.REACH if self._distance < CLOSE_ENOUGH:
                self._enter(Phase.CLOSE)
                self._target = self._grasp.position
            case Phase.CLOSE if self._waited >= CLOSING_STEPS:
                self._enter(Phase.CARRY)
                self._held = item.center - hand.position
            case Phase.CARRY if not self._hangs(hand, item):
                self._start_over()
            case Phase.CARRY if self._is_above_container(simulator, hand, item):
                self._enter(Phase.RELEASE)
            case Phase.RELEASE if self._waited >= RELEASE_STEPS:
                self._start_over()

    def _hangs(self, hand: Hand, item: Box) -> bool:
        """Whether the object is still where the fingers had taken it."""
        return float(np.linalg.norm(item.center - hand.position - self._held)) < SLIP

    def _enter(self, phase: Phase) -> None:
        self.phase, self._waited = phase, 0

    def _start_over(self) -> None:
        self._enter(Phase.REACH)
        self.attempts += 1

    def _towards_container(self, simulator: Simulator, hand: Hand, item: Box) -> Array:
        """Straight up, then over the rim to the middle."""
        above = self._drop_point(simulator, hand, item)
        lifted = hand.position[2] > above[2] - EARLY
        return above if lifted else np.array([*self._target[:2], above[2]])

    def _is_above_container(self, simulator: Simulator, hand: Hand, item: Box) -> bool:
        above = self._drop_point(simulator, hand, item)
        return float(np.linalg.norm(above[:2] - hand.position[:2])) < ABOVE

    def _drop_point(self, simulator: Simulator, hand: Hand, item: Box) -> Array:
        """Where the hand lets go: the object's underside clears the rim."""
        middle = region_center(simulator, self.target)
        rim = box_of(simulator, region_owner(simulator, self.target)).top
        hanging = hand.position[2] - item.bottom
        return np.array([middle[0], middle[1], rim + CLEARANCE + hanging])


def _down_a_funnel(hand: Hand, grasp: Array) -> Array:
    """The grasp, or above it: the further to the side the hand is, the higher it stays."""
    beside = float(np.linalg.norm(grasp[:2] - hand.position[:2]))
    return np.add(grasp, [0.0, 0.0, min(HOVER, FUNNEL * max(0.0, beside - CLOSE_ENOUGH))])
