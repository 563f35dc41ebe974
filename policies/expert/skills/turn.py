"""Turns a knob on or off by its ridge."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.approach import NEAR_NOISE, Approach, Retreat
from vst_vla.policies.expert.articulation import Joint, moving_boxes, turned, wanted_joint
from vst_vla.policies.expert.clearance import Pose, angle_between, grip_rotation
from vst_vla.policies.expert.geometry import Box, Hand, hand_of
from vst_vla.policies.expert.motion import CLOSE, OPEN, steer
from vst_vla.vla.contracts import Array

CLOSE_ENOUGH = 0.012  # m from the grasp at which the fingers close
CLOSING_STEPS = 8
LEAD = 0.6  # rad by which the hand is asked to turn ahead
SLIP = 0.025  # m between hand and ridge at which the hold counts as lost
LIMIT = 1.5  # rad that the hand turns with one hold; then it lets go and takes the ridge anew
DEPTH = 0.012  # m of the ridge between the fingertips


class Phase(Enum):
    """What the hand is about to do."""

    REACH = "reach"
    CLOSE = "close"
    TURN = "turn"
    RETREAT = "retreat"


class Turn:
    """`turnon(target)` or `turnoff(target)`: takes the knob's ridge from above and turns with it.

    Args:
        target: the fixture with the knob.
        predicate: which of the two.
    """

    def __init__(self, *, target: str, predicate: Literal["turnon", "turnoff"]) -> None:
        self.target = target
        self.predicate = predicate
        self.attempts = 1
        self.phase = Phase.REACH
        self._approach = Approach()
        self._retreat = Retreat()
        self._waited = 0  # steps in the present phase
        self._taken: Array = np.eye(3)  # rotation of the hand when it took hold

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that the present phase bears, in action units."""
        return self._approach.noise_scale if self.phase is Phase.REACH else NEAR_NOISE

    @property
    def busy(self) -> bool:
        """Whether the hand is still at the knob."""
        return self.phase is not Phase.REACH

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        hand, joint = hand_of(simulator), wanted_joint(simulator, self.target, predicate=self.predicate)
        pose = ridge_grasp(joint, max(moving_boxes(simulator, joint), key=lambda box: box.top))
        self._choose_phase(hand, pose, done=simulator.holds((self.predicate, self.target)))
        self._waited += 1
        if self.phase is Phase.REACH:
            return self._approach.act(simulator, hand, pose, grip=OPEN)
        if self.phase is Phase.RETREAT:
            return self._retreat.act(hand)
        ahead = turned(joint.axis, LEAD) @ hand.rotation if self.phase is Phase.TURN else pose.rotation
        return steer(hand, position=pose.position, rotation=ahead, grip=CLOSE)

    def _choose_phase(self, hand: Hand, pose: Pose, *, done: bool) -> None:
        apart = float(np.linalg.norm(pose.position - hand.position))
        match self.phase:
            case Phase.REACH if apart < CLOSE_ENOUGH:
                self._enter(Phase.CLOSE)
            case Phase.CLOSE if self._waited >= CLOSING_STEPS:
                self._enter(Phase.TURN)
                self._taken = hand.rotation
            case Phase.TURN if done:
                self._enter(Phase.RETREAT)
                self._retreat = Retreat()
            case Phase.RETREAT if self._retreat.done:
                self._enter(Phase.REACH)
                self._approach = Approach()
            case Phase.TURN if apart > SLIP or angle_between(hand.rotation, self._taken) > LIMIT:
                self._enter(Phase.REACH)
                self._approach = Approach()
                self.attempts += 1

    def _enter(self, phase: Phase) -> None:
        self.phase, self._waited = phase, 0


def ridge_grasp(joint: Joint, ridge: Box) -> Pose:
    """The hand straight down over the joint's axis, its fingers to both sides of the ridge."""
    narrow, _ = ridge.sides()
    closing = np.array([np.cos(narrow[1]), np.sin(narrow[1]), 0.0])
    position = np.array([*joint.anchor[:2], ridge.top - DEPTH])
    return Pose(position=position, rotation=grip_rotation(reach=np.array([0.0, 0.0, -1.0]), closing=closing))
