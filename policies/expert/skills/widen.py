"""Pushes a drawer that is open out to its stop, from inside, so that there is most room to put something in."""

from __future__ import annotations

from enum import Enum

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.approach import NEAR_NOISE, Approach, Retreat
from vst_vla.policies.expert.articulation import AJAR, Joint, moving_boxes, wanted_joint
from vst_vla.policies.expert.clearance import Pose, grip_rotation
from vst_vla.policies.expert.geometry import Box, Hand, hand_of, region_center
from vst_vla.policies.expert.motion import CLOSE, steer
from vst_vla.vla.contracts import Array

STOPPED = 0.003  # m from there at which the push ends
BEFORE = 0.03  # m between the front's inner face and the fingertips when the push begins
DEPTH = 0.025  # m of the fingertips below the front's upper edge
CLOSE_ENOUGH = 0.015  # m from where the push begins
LEAD = 0.06  # m by which the hand is asked to go ahead
PATIENCE = 25  # steps of pushing
DOWN = np.array([0.0, 0.0, -1.0])


class Phase(Enum):
    """What the hand is about to do."""

    REACH = "reach"
    PUSH = "push"
    RETREAT = "retreat"


class Widen:
    """Comes down into the drawer with closed fingers and pushes its front outwards.

    Args:
        target: the drawer's region.
    """

    def __init__(self, *, target: str) -> None:
        self.target = target
        self.attempts = 1
        self.phase = Phase.REACH
        self._approach = Approach()
        self._retreat = Retreat()
        self._waited = 0  # steps in the present phase

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that the present phase bears, in action units."""
        return self._approach.noise_scale if self.phase is Phase.REACH else NEAR_NOISE

    @property
    def busy(self) -> bool:
        """Whether the hand is still in the drawer."""
        return self.phase is not Phase.REACH

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        hand, joint = hand_of(simulator), wanted_joint(simulator, self.target, predicate="open")
        pose = push_pose(moving_boxes(simulator, joint), joint, inside=region_center(simulator, self.target))
        self._choose_phase(hand, pose, rest=joint.rest)
        self._waited += 1
        match self.phase:
            case Phase.REACH:
                return self._approach.act(simulator, hand, pose, grip=CLOSE)
            case Phase.PUSH:
                ahead = hand.position + LEAD * joint.axis
                position = np.array([*ahead[:2], pose.position[2]])
                return steer(hand, position=position, rotation=pose.rotation, grip=CLOSE)
        return self._retreat.act(hand)

    def _choose_phase(self, hand: Hand, pose: Pose, *, rest: float) -> None:
        match self.phase:
            case Phase.REACH if np.linalg.norm(pose.position - hand.position) < CLOSE_ENOUGH:
                self._enter(Phase.PUSH)
            case Phase.PUSH if rest < STOPPED or self._waited > PATIENCE:
                self._enter(Phase.RETREAT)
                self._retreat = Retreat()
                self.attempts += rest > AJAR
            case Phase.RETREAT if self._retreat.done:
                self._enter(Phase.REACH)
                self._approach = Approach()

    def _enter(self, phase: Phase) -> None:
        self.phase, self._waited = phase, 0


def push_pose(drawer: list[Box], joint: Joint, *, inside: Array) -> Pose:
    """The hand straight down before the inner face of the drawer's front, its fingers closing along the face.

    Args:
        drawer: the boxes of the drawer.
        joint: what moves it, outwards.
        inside: (3,) m, the middle of what it holds.
    """
    ahead = [box for box in drawer if _is_ahead(box, inside, joint.axis)]
    front = min(ahead, key=lambda box: float((box.center - inside) @ joint.axis) - _reach(box, joint.axis))
    face = float((front.center - inside) @ joint.axis) - _reach(front, joint.axis)
    position = inside + (face - BEFORE) * joint.axis
    position[2] = front.top - DEPTH
    return Pose(position=position, rotation=grip_rotation(reach=DOWN, closing=np.cross(DOWN, joint.axis)))


def _is_ahead(box: Box, point: Array, way: Array) -> bool:
    """Whether a level line from the point along the way (3,) meets the box."""
    apart = box.center - point
    beside = [axis for axis in (np.cross(way, DOWN), DOWN) if abs(float(axis @ apart)) > _reach(box, axis)]
    return not beside and float(apart @ way) > 0


def _reach(box: Box, way: Array) -> float:
    """Half of the box's extent (m) along a unit vector (3,)."""
    return float(np.abs(way @ box.rotation) @ box.half)
