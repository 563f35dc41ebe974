"""Closes a drawer by its handle, a door by its upper edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.approach import NEAR_NOISE, Approach, Retreat
from vst_vla.policies.expert.articulation import Joint, handle_of, moving_boxes, turned, wanted_joint
from vst_vla.policies.expert.clearance import START_ROTATION, Pose, angle_between, grip_rotation, is_clear, obstacles
from vst_vla.policies.expert.geometry import Hand, foot_of, hand_of
from vst_vla.policies.expert.motion import CLOSE, steer
from vst_vla.vla.contracts import Array

BEFORE = 0.03  # m between the part's face and the fingertips when the push begins
CLOSE_ENOUGH = 0.02  # m from there
LEAD = 0.06  # m by which the hand is asked to go ahead
SHARES = (0.7, 0.55, 0.4)  # of a door's width, where it is pushed
FOLDED = 0.38  # m from the arm's base below which the hand hardly comes
EDGE = 0.02  # m of a door below its upper edge, for the fingertips
SLIP = 0.08  # m between the fingertips and their place at which the push starts over
DOWN = np.array([0.0, 0.0, -1.0])
TILTS = np.deg2rad([0, 20, -20, 40, -40, 60, -60])


class Phase(Enum):
    """What the hand is about to do."""

    REACH = "reach"
    PUSH = "push"
    RETREAT = "retreat"


class PushShut:
    """`close(target)`: comes before the part with closed fingers, as upright as the palm has room, and pushes.

    Args:
        target: the region or the fixture to close.
    """

    def __init__(self, *, target: str) -> None:
        self.target = target
        self.attempts = 1
        self.phase = Phase.REACH
        self._approach = Approach()
        self._retreat = Retreat()
        self._rotation: Array | None = None  # of the hand, chosen when the push begins,
        self._rest = 0.0  # with so much left of the joint's way (m or rad),
        self._share = SHARES[0]  # as far from a door's hinge

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that the present phase bears, in action units."""
        return self._approach.noise_scale if self.phase is Phase.REACH else NEAR_NOISE

    @property
    def busy(self) -> bool:
        """Whether the hand is still at the part."""
        return self.phase is not Phase.REACH

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        hand, joint = hand_of(simulator), wanted_joint(simulator, self.target, predicate="close")
        if self._rotation is None:
            self._rest, self._share = joint.rest, reachable_share(simulator, joint)
            start, contents = push_point(simulator, joint, share=self._share), contents_of(simulator, self.target)
            self._rotation = push_rotation(simulator, joint, start, contents=contents)
        point = push_point(simulator, joint, share=self._share)
        pose = Pose(position=point, rotation=following(joint, self._rotation, by=self._rest - joint.rest))
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


def push_point(simulator: Simulator, joint: Joint, *, share: float) -> Array:
    """Where the fingertips are (3,) when they are about to touch: before a drawer's handle, at a door's upper edge.

    Above the edge the palm is free, whichever way it is turned.

    Args:
        simulator: the scene.
        joint: what moves the part.
        share: for a door, of the way from its hinge to its free edge.
    """
    touched = handle_of(simulator, joint, outwards=-1.0)
    if joint.hinge:
        touched = max(moving_boxes(simulator, joint), key=lambda box: float(np.prod(box.half)))
    way = joint.way(touched.center) / np.linalg.norm(joint.way(touched.center))
    face = touched.center - way * (float(np.abs(way @ touched.rotation) @ touched.half) + BEFORE)
    if not joint.hinge:
        return np.asarray(face)
    out = np.cross(way, joint.axis)
    width = float(out @ (touched.center - joint.anchor) + np.abs(out @ touched.rotation) @ touched.half)
    point = face + out * (share * width - float(out @ (face - joint.anchor)))
    return np.array([*point[:2], touched.top - EDGE])


def reachable_share(simulator: Simulator, joint: Joint) -> float:
    """How far from a door's hinge to push: as far as the arm need not fold up for it."""
    base = foot_of(simulator)[:2]
    points = {share: push_point(simulator, joint, share=share) for share in SHARES}
    return next((share for share, point in points.items() if np.linalg.norm(point[:2] - base) > FOLDED), SHARES[-1])


def push_rotation(simulator: Simulator, joint: Joint, start: Array, *, contents: Sequence[int] = ()) -> Array:
    """Of the rotations (3,3) with room for the palm all the way from `start` (3,), the one nearest the start pose.

    Args:
        simulator: the scene.
        joint: what moves the part.
        start: where the fingertips begin, (3,) m.
        contents: bodies that move with the part.
    """
    end = joint.carried(start, joint.rest)
    now, later = obstacles(simulator), obstacles(simulator, without=[joint.body, *contents])
    rotations = sorted(_rotations(joint, start), key=lambda rotation: angle_between(rotation, START_ROTATION))
    for rotation in rotations:
        begin = Pose(position=start, rotation=rotation)
        finish = Pose(position=end, rotation=following(joint, rotation, by=joint.rest))
        if is_clear(begin, now) and is_clear(finish, later):
            return rotation
    return rotations[0]


def contents_of(simulator: Simulator, target: str) -> list[int]:
    """The bodies of the objects that lie in a drawer; none for anything else."""
    problem, roots = simulator.problem, simulator.sim.model.body_rootid
    names = problem.objects_dict if target in problem.object_sites_dict else ()
    inside = [problem.obj_body_id[name] for name in names if simulator.holds(("in", name, target))]
    return [int(body) for body in np.flatnonzero(np.isin(roots, inside))]


def following(joint: Joint, rotation: Array, *, by: float) -> Array:
    """The hand's rotation (3,3) after the joint moved on by `by`: a hand at a door turns with it."""
    return turned(joint.axis, by) @ rotation if joint.hinge else rotation


def _rotations(joint: Joint, start: Array) -> Iterator[Array]:
    """Reaching down or, more or less tilted, the way the part goes; closing along its face or up and down."""
    way = joint.way(start) * np.array([1.0, 1.0, 0.0])
    way /= np.linalg.norm(way)
    side = np.cross(DOWN, way)
    yield grip_rotation(reach=DOWN, closing=side)
    yield grip_rotation(reach=DOWN, closing=way)
    for tilt in TILTS:
        reach = turned(side, float(tilt)) @ way
        yield grip_rotation(reach=reach, closing=side)
        yield grip_rotation(reach=reach, closing=np.cross(reach, side))
