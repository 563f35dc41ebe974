"""Opens a drawer or a door by its handle."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.approach import NEAR_NOISE, Approach, Retreat
from vst_vla.policies.expert.articulation import Joint, handle_of, turned, wanted_joint
from vst_vla.policies.expert.clearance import Pose, grip_rotation, is_clear, obstacles
from vst_vla.policies.expert.geometry import Box, Hand, foot_of, hand_of
from vst_vla.policies.expert.motion import CLOSE, OPEN, steer
from vst_vla.vla.contracts import Array

CLOSE_ENOUGH = 0.006  # m from the handle at which the fingers close
CLOSING_STEPS = 12
GATHER, GATHER_STEPS = 0.12, 25  # m towards the robot's foot afterwards, and for how long at most
WIDER_STEPS = 4  # of pulling after it is open, so that a touch does not undo it
LEAD = 0.05  # m by which the hand is asked to go ahead of the handle
SLIP = 0.03  # m between hand and handle at which the hold counts as lost
LEANS = np.deg2rad([15, 30, 0, 45, 60, 75, 90, -15, -30, -45, -60, -75, -90])
"""Tilts of the hand about the bar, best first; leaning on the handle from above keeps the elbow bent."""


class Phase(Enum):
    """What the hand is about to do."""

    REACH = "reach"
    CLOSE = "close"
    PULL = "pull"
    RETREAT = "retreat"
    GATHER = "gather"


class Pull:
    """`open(target)`: takes the handle across its bar, where the palm has room, and moves with it.

    Args:
        target: the region or the fixture to open.
    """

    def __init__(self, *, target: str) -> None:
        self.target = target
        self.attempts = 1
        self.phase = Phase.REACH
        self._approach = Approach()
        self._retreat = Retreat()
        self._waited = 0  # steps in the present phase
        self._wide = 0  # steps for which it has been open
        self._gathered: Array = np.zeros(3)  # m, where the hand goes last: an arm that is bent can turn its hand
        self._pose: Pose | None = None  # of the grasp, at the handle's present place

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
        hand, joint = hand_of(simulator), wanted_joint(simulator, self.target, predicate="open")
        handle = handle_of(simulator, joint, outwards=1.0)
        if self._pose is None:
            self._pose = handle_grasp(simulator, joint, handle)
        pose = Pose(position=handle.center, rotation=self._pose.rotation)
        self._choose_phase(simulator, hand, handle)
        self._waited += 1
        if self.phase is Phase.REACH:
            return self._approach.act(simulator, hand, pose)
        if self.phase is Phase.CLOSE:
            return steer(hand, position=pose.position, rotation=pose.rotation, grip=CLOSE)
        if self.phase is Phase.RETREAT:
            return self._retreat.act(hand)
        if self.phase is Phase.GATHER:
            return steer(hand, position=self._gathered, rotation=pose.rotation, grip=OPEN)
        ahead = LEAD / float(np.linalg.norm(joint.way(handle.center)))
        return steer(hand, position=joint.carried(hand.position, ahead), rotation=pose.rotation, grip=CLOSE)

    def _choose_phase(self, simulator: Simulator, hand: Hand, handle: Box) -> None:
        done = simulator.holds(("open", self.target))
        apart = float(np.linalg.norm(handle.center - hand.position))
        self._wide = self._wide + 1 if done else 0
        match self.phase:
            case Phase.REACH if apart < CLOSE_ENOUGH:
                self._enter(Phase.CLOSE)
            case Phase.CLOSE if self._waited >= CLOSING_STEPS:
                self._enter(Phase.PULL)
            case Phase.PULL if self._wide > WIDER_STEPS or (done and apart > SLIP):
                self._enter(Phase.RETREAT)
                self._retreat = Retreat()
            case Phase.PULL if apart > SLIP:
                self._begin()
                self.attempts += 1
            case Phase.RETREAT if self._retreat.done:
                self._enter(Phase.GATHER)
                self._gathered = hand.position + GATHER * _towards_foot(simulator, hand)
            case Phase.GATHER if self._is_gathered(hand):
                self._begin()

    def _is_gathered(self, hand: Hand) -> bool:
        return bool(np.linalg.norm(self._gathered - hand.position) < GATHER / 4) or self._waited > GATHER_STEPS

    def _enter(self, phase: Phase) -> None:
        self.phase, self._waited = phase, 0

    def _begin(self) -> None:
        self._enter(Phase.REACH)
        self._approach, self._pose = Approach(), None


def _towards_foot(simulator: Simulator, hand: Hand) -> Array:
    """The level unit vector (3,) from the hand to where the robot stands."""
    way = (foot_of(simulator) - hand.position) * (1.0, 1.0, 0.0)
    return np.asarray(way / np.linalg.norm(way))


def handle_grasp(simulator: Simulator, joint: Joint, handle: Box) -> Pose:
    """The pose across the handle's bar that needs the least tilt, from the way out, for the palm to stay clear."""
    around = obstacles(simulator, without=[joint.body])
    poses = list(_grasps(joint, handle))
    clear = (pose for pose in poses if is_clear(pose, around) and is_clear(pose.backed(0.07), around))
    return next(clear, poses[0])


def _grasps(joint: Joint, handle: Box) -> Iterator[Pose]:
    bar = handle.rotation[:, int(np.argmax(handle.half))]
    out = joint.way(handle.center)
    out = out - (out @ bar) * bar
    down = 1.0 if np.cross(bar, -out)[2] < 0 else -1.0
    for lean in LEANS:
        reach = turned(bar, float(down * lean)) @ (-out / np.linalg.norm(out))
        yield Pose(position=handle.center, rotation=grip_rotation(reach=reach, closing=np.cross(bar, reach)))
