"""How the hand comes to a thing: up, over what stands between, to a point before it, then in along the fingers."""

from __future__ import annotations

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.clearance import Pose, angle_between, obstacles
from vst_vla.policies.expert.geometry import Hand
from vst_vla.policies.expert.motion import OPEN, steer
from vst_vla.vla.contracts import Array

FREE_NOISE, NEAR_NOISE = 0.25, 0.1
NEAR = 0.08  # m from the goal below which exploration noise is small
STANDOFF = 0.07  # m before the goal from which the hand comes in
FUNNEL = 4.0  # m kept back, or up, for each metre beside the line of approach
TURN_FUNNEL = 0.2  # m kept back for each rad that the hand still has to turn
ALIGNED = 0.008  # m beside the line, and
TURNED = 0.1  # rad, that do not matter
RETREAT = 0.06  # m
OPENING_STEPS, RETREAT_STEPS = 4, 20
MARGIN = 0.05  # m between the fingertips and what they pass over
CORRIDOR = 0.05  # m to either side of the way


class Approach:
    """One way to a pose, which may move meanwhile."""

    def __init__(self) -> None:
        self.distance = np.inf  # m to the pose

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that may be added at present, in action units."""
        return FREE_NOISE if self.distance > NEAR else NEAR_NOISE

    def act(self, simulator: Simulator, hand: Hand, pose: Pose, *, grip: float = OPEN) -> Array:
        """The next action (7,): to the standoff, then in, the further back the more the hand is beside its line."""
        apart = pose.position - hand.position
        self.distance = float(np.linalg.norm(apart))
        beside = float(np.linalg.norm(apart - (apart @ pose.reach) * pose.reach))
        angle = angle_between(pose.rotation, hand.rotation)
        back = FUNNEL * max(0.0, beside - ALIGNED) + TURN_FUNNEL * max(0.0, angle - TURNED)
        target = pose.backed(min(STANDOFF, back)).position
        if back > STANDOFF:
            target = _over(simulator, hand, target)
        return steer(hand, position=target, rotation=pose.rotation, grip=grip)


class Retreat:
    """The way back, after a skill has done its part: the fingers open and the hand leaves the way they point."""

    def __init__(self) -> None:
        self.done = False
        self._steps = 0
        self._start: Pose | None = None

    def act(self, hand: Hand) -> Array:
        """The next action (7,); `done` is set when the hand is clear of the thing."""
        if self._start is None:
            self._start = Pose(position=hand.position, rotation=hand.rotation)
        self._steps += 1
        gone = float((self._start.position - hand.position) @ self._start.reach)
        self.done = gone > RETREAT or self._steps >= RETREAT_STEPS
        back = 0.0 if self._steps <= OPENING_STEPS else 2 * RETREAT
        return steer(hand, position=self._start.backed(back).position, rotation=self._start.rotation, grip=OPEN)


def _over(simulator: Simulator, hand: Hand, goal: Array) -> Array:
    """The goal, or a point above it, or above the hand, as long as something stands between."""
    way = goal[:2] - hand.position[:2]
    length = float(np.linalg.norm(way))
    if length < ALIGNED:
        return goal
    needed = min(_cruise(simulator, hand.position, goal), goal[2] + FUNNEL * length)
    if hand.position[2] < needed - MARGIN / 2:
        return np.array([*hand.position[:2], needed + MARGIN / 2])
    return np.array([goal[0], goal[1], max(goal[2], needed)])


def _cruise(simulator: Simulator, start: Array, goal: Array) -> float:
    """Height (m) at which the fingertips clear what stands on the straight way, its end excepted."""
    length = float(np.linalg.norm(goal[:2] - start[:2]))
    shares = np.linspace(0.0, max(0.0, 1.0 - CORRIDOR / length), 1 + int(length / CORRIDOR))
    points = start[:2] + shares[:, None] * (goal[:2] - start[:2])
    boxes = obstacles(simulator)
    centers = np.array([box.center[:2] for box in boxes])
    reaches = np.array([np.abs(box.rotation[:2]) @ box.half for box in boxes])
    near = (np.abs(points[:, None] - centers) < reaches + CORRIDOR).all(axis=2).any(axis=0)
    return max([float(goal[2]), *(box.top + MARGIN for box, on_way in zip(boxes, near, strict=True) if on_way)])
