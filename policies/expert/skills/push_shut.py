"""Closes a drawer or a door by pushing its handle in."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.approach import NEAR_NOISE, Approach, Retreat
from vst_vla.policies.expert.articulation import Joint, handle_of, turned, wanted_joint
from vst_vla.policies.expert.clearance import START_ROTATION, Pose, angle_between, grip_rotation, is_clear, obstacles
from vst_vla.policies.expert.geometry import Box, Hand, hand_of
from vst_vla.policies.expert.motion import CLOSE, steer
from vst_vla.vla.contracts import Array

BEFORE = 0.03  # m between the handle's face and the fingertips when the push begins
CLOSE_ENOUGH = 0.02  # m from there
LEAD = 0.06  # m by which the hand is asked to go ahead of the handle
SLIP = 0.08  # m between fingertips and handle's face at which the push starts over
DOWN = np.array([0.0, 0.0, -1.0])
TILTS = np.deg2rad([0, 20, -20, 40, -40, 60, -60])


class Phase(Enum):
    """What the hand is about to do."""

    REACH = "reach"
    PUSH = "push"
    RETREAT = "retreat"


class PushShut:
    """`close(target)`: comes before the handle with closed fingers, as upright as the palm has room, and pushes.

    Args:
        target: the region or the fixture to close.
    """

    def __init__(self, *, target: str) -> None:
        self.target = target
        self.attempts = 1
        self.phase = Phase.REACH
        self._approach = Approach()
        self._retreat = Retreat()
        self._rotation: Array | None = None  # of the hand, chosen when the push begins

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that the present phase bears, in action units."""
        return self._approach.noise_scale if self.phase is Phase.REACH else NEAR_NOISE

    @property
    def busy(self) -> bool:
        """Whether the hand is still at the handle."""
        return self.phase is not Phase.REACH

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        hand, joint = hand_of(simulator), wanted_joint(simulator, self.target, predicate="close")
        handle = handle_of(simulator, joint, outwards=-1.0)
        if self._rotation is None:
            self._rotation = push_rotation(simulator, joint, handle)
        pose = Pose(position=push_point(joint, handle), rotation=self._rotation)
        self._choose_phase(hand, pose, done=simulator.holds(("close", self.target)))
        if self.phase is Phase.REACH:
            return self._approach.act(simulator, hand, pose, grip=CLOSE)
        if self.phase is Phase.RETREAT:
            return self._retreat.act(hand)
        ahead = LEAD / float(np.linalg.norm(joint.way(pose.position)))
        return steer(hand, position=joint.carried(pose.position, ahead), rotation=pose.rotation, grip=CLOSE)

    def _choose_phase(self, hand: Hand, pose: Pose, *, done: bool) -> None:
        apart = float(np.linalg.norm(pose.position - hand.position))
        match self.phase:
            case Phase.REACH if apart < CLOSE_ENOUGH:
                self.phase = Phase.PUSH
            case Phase.PUSH if done:
                self.phase, self._retreat = Phase.RETREAT, Retreat()
            case Phase.PUSH if apart > SLIP:
                self.phase, self._approach, self._rotation = Phase.REACH, Approach(), None
                self.attempts += 1
            case Phase.RETREAT if self._retreat.done:
                self.phase, self._approach, self._rotation = Phase.REACH, Approach(), None


def push_point(joint: Joint, handle: Box) -> Array:
    """Where the fingertips are (3,) when they are about to touch the handle from outside."""
    way = joint.way(handle.center) / np.linalg.norm(joint.way(handle.center))
    return np.asarray(handle.center - way * (float(np.abs(way @ handle.rotation) @ handle.half) + BEFORE))


def push_rotation(simulator: Simulator, joint: Joint, handle: Box) -> Array:
    """Of the rotations (3,3) that keep the palm clear now and at the end, the one nearest to the start pose."""
    start = push_point(joint, handle)
    end = joint.carried(start, joint.rest)
    now, later = obstacles(simulator), obstacles(simulator, without=[joint.body])
    rotations = sorted(_rotations(joint, handle), key=lambda rotation: angle_between(rotation, START_ROTATION))
    for rotation in rotations:
        begin = Pose(position=start, rotation=rotation)
        if is_clear(begin, now) and is_clear(Pose(position=end, rotation=rotation), later):
            return rotation
    return rotations[0]


def _rotations(joint: Joint, handle: Box) -> Iterator[Array]:
    """Reaching down or, more or less tilted, the way the handle goes; closing along the level or the upright bar."""
    way = joint.way(handle.center) * np.array([1.0, 1.0, 0.0])
    way /= np.linalg.norm(way)
    side = np.cross(DOWN, way)
    yield grip_rotation(reach=DOWN, closing=side)
    yield grip_rotation(reach=DOWN, closing=way)
    for tilt in TILTS:
        reach = turned(side, float(tilt)) @ way
        yield grip_rotation(reach=reach, closing=side)
        yield grip_rotation(reach=reach, closing=np.cross(reach, side))
