"""Picks an object up between two fingers and puts it down in or on something."""

from __future__ import annotations

from enum import Enum

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.geometry import Hand, box_of, hand_of, origin_of, origins
from vst_vla.policies.expert.handroom import FINGER_TIP
from vst_vla.policies.expert.motion import CLOSE, OPEN, about_up, rotation_vector, steer
from vst_vla.policies.expert.plan import Plan, plan_move
from vst_vla.policies.expert.spot import Relation, spot_of
from vst_vla.policies.expert.transit import over
from vst_vla.vla.contracts import Array

FREE_NOISE, NEAR_NOISE = 0.25, 0.1
NEAR = 0.05  # m from the goal below which exploration noise is small
MOVED = 0.01  # m an object may move before the grasp is planned anew
CLOSE_ENOUGH = 0.006  # m from the grasp at which the fingers close
SQUARE = 0.12  # rad
PATIENCE = 20  # steps near a goal after which the hand need not be square any more, as where the arm is stretched
CLOSING_STEPS = 14  # at most
CLOSED = 0.0008  # m that the fingers may still move in a step when they are closed
EMPTY = 0.002  # m between closed fingers that hold nothing
ABOVE = 0.01  # m beside the goal within which the object is put down
INSIDE = 0.004  # m before its goal at which an object that is slid in is let go
SETTLED = 0.006  # m above the goal at which it is let go
LEVEL = 0.004  # m above or below the goal's height at which an object begins to be slid in
SLIDE_LEAD = 0.032  # m by which the hand is asked to go ahead then, little enough to keep the height meanwhile
RAISED = 0.04  # m by which an object is raised to be moved aside
TURN_HEIGHT = 0.08  # m above its start from which the object is turned
STALLED = 20  # steps of putting down after which it is let go anyway
OPENING_STEPS = 4
RETREAT = 0.08  # m by which the hand goes up afterwards
RETREAT_STEPS = 20
MISSED = 0.03  # m between where an object is in the closed hand and where it was to be
SLIP = 0.07  # m an object may move in the hand, by tilting too, before the grasp counts as lost


class Phase(Enum):
    """What the hand is about to do."""

    REACH = "reach"
    CLOSE = "close"
    ASIDE = "aside"
    CARRY = "carry"
    LOWER = "lower"
    SLIDE = "slide"
    RELEASE = "release"
    RETREAT = "retreat"


HOLDING = (Phase.ASIDE, Phase.CARRY, Phase.LOWER, Phase.SLIDE)


class PickPlace:
    """`in(item, target)` or `on(item, target)`, closed loop; starts over when the object slips out or lands elsewhere.

    Args:
        item: the object's instance name.
        target: the object or the BDDL region that it has to be in or on.
        relation: which of the two.
    """

    def __init__(self, *, item: str, target: str, relation: Relation) -> None:
        self.item = item
        self.target = target
        self.relation = relation
        self.phase = Phase.REACH
        self._plan: Plan | None = None
        self._grasps = 0
        self._failed: list[Array] = []  # grasps that did not hold, from the object's origin
        self._held: Array = np.zeros(3)  # from hand to object when the fingers had closed, in the hand's frame
        self._distance = np.inf  # m to the present goal
        self._waited = 0  # steps in the present phase; in REACH and CARRY, near the goal
        self._hold: Array = np.zeros(3)  # where the hand is kept while the fingers move
        self._opening = np.inf  # m between the fingers one step ago

    @property
    def attempts(self) -> int:
        """Grasps begun; one when nothing slipped."""
        return max(1, self._grasps)

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that the present phase bears, in action units."""
        far = self.phase in (Phase.REACH, Phase.CARRY, Phase.RETREAT) and self._distance >= NEAR
        return FREE_NOISE if far else NEAR_NOISE

    @property
    def busy(self) -> bool:
        """Whether the hand is still at the object, goal reached or not; nothing else should begin before it is free."""
        return self.phase is not Phase.REACH

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        hand, origin = hand_of(simulator), origin_of(simulator, self.item)
        plan = self._present_plan(simulator)
        put = plan.way.origin + self._shift(simulator, plan) - origin
        self._choose_phase(plan, hand, origin, put)
        position = self._goal(simulator, plan, hand, put)
        grip = CLOSE if self.phase is Phase.CLOSE or self.phase in HOLDING else OPEN
        return steer(hand, position=position, rotation=self._rotation(plan, origin), grip=grip)

    def _present_plan(self, simulator: Simulator) -> Plan:
        """The plan; a new one before the grasp when anything has moved."""
        if self.phase is Phase.REACH and self._plan and np.abs(origins(simulator) - self._plan.seen).max() > MOVED:
            self._plan = None
        if self._plan is None:
            self._plan = plan_move(simulator, self.item, self.target, relation=self.relation, failed=self._failed)
        return self._plan

    def _shift(self, simulator: Simulator, plan: Plan) -> Array:
        """How far (3,) m the target has moved since it was planned."""
        return spot_of(simulator, self.target, relation=self.relation).middle - plan.spot

    def _goal(self, simulator: Simulator, plan: Plan, hand: Hand, put: Array) -> Array:
        """Where the hand should go next, (3,) m; `put` (3,) m is what the object has still to move."""
        before = hand.position + put - plan.way.slide
        match self.phase:
            case Phase.REACH:
                self._distance = float(np.linalg.norm(plan.way.position - hand.position))
                return over(plan.scene, start=hand.position, goal=plan.way.position, hanging=FINGER_TIP)
            case Phase.ASIDE:
                return self._hold + plan.aside + (0.0, 0.0, RAISED)
            case Phase.CARRY:
                self._distance = float(np.linalg.norm(before - hand.position))
                hanging = float(hand.position[2]) - box_of(simulator, self.item).bottom
                return over(plan.around, start=hand.position, goal=before, hanging=hanging)
            case Phase.LOWER if plan.way.slide.any():
                return before
            case Phase.LOWER:
                return np.subtract(before, (0.0, 0.0, SETTLED))
            case Phase.SLIDE:
                return hand.position + put * min(1.0, SLIDE_LEAD / float(np.linalg.norm(put)))
            case Phase.RETREAT if plan.way.slide.any():
                return self._hold - plan.way.slide
            case Phase.RETREAT:
                return np.add(self._hold, (0.0, 0.0, 1.5 * RETREAT))
        return self._hold

    def _choose_phase(self, plan: Plan, hand: Hand, origin: Array, put: Array) -> None:
        self._waited += self.phase not in (Phase.REACH, Phase.CARRY) or self._distance < NEAR
        if self.phase in HOLDING:
            self._choose_holding(plan, hand, origin, put)
            return
        match self.phase:
            case Phase.REACH if self._waited > PATIENCE and self._distance > MISSED:
                self._fail(plan)
            case Phase.REACH if self._is_at(plan, hand) or self._waited > PATIENCE:
                self._enter(Phase.CLOSE, hold=plan.way.position)
                self._grasps += 1
            case Phase.CLOSE if self._has_closed(hand):
                self._lift_or_fail(plan, hand, origin)
            case Phase.RELEASE if self._waited >= OPENING_STEPS:
                self._enter(Phase.RETREAT, hold=hand.position)
            case Phase.RETREAT if self._is_clear(plan, hand) or self._waited > RETREAT_STEPS:
                self._start_over()

    def _choose_holding(self, plan: Plan, hand: Hand, origin: Array, put: Array) -> None:
        before = put - plan.way.slide
        if self._has_slipped(hand, origin):
            self._fail(plan)
            return
        match self.phase:
            case Phase.ASIDE if self._is_aside(plan, hand) or self._waited > STALLED:
                self._enter(Phase.CARRY, hold=hand.position)
            case Phase.CARRY if np.linalg.norm(before[:2]) < ABOVE and self._is_square(plan, hand, origin):
                self._enter(Phase.LOWER, hold=hand.position)
            case Phase.LOWER if self._is_low(plan, before) or self._waited > STALLED:
                self._enter(Phase.SLIDE if plan.way.slide.any() else Phase.RELEASE, hold=hand.position)
            case Phase.SLIDE if np.linalg.norm(put[:2]) < INSIDE or self._waited > STALLED:
                self._enter(Phase.RELEASE, hold=hand.position)

    def _is_at(self, plan: Plan, hand: Hand) -> bool:
        near = np.linalg.norm(plan.way.position - hand.position) < CLOSE_ENOUGH
        return bool(near) and self._skew(plan, hand, plan.start) < SQUARE

    def _is_square(self, plan: Plan, hand: Hand, origin: Array) -> bool:
        return self._skew(plan, hand, origin) < SQUARE or self._waited > PATIENCE

    def _is_aside(self, plan: Plan, hand: Hand) -> bool:
        return bool(np.linalg.norm((self._hold + plan.aside - hand.position)[:2]) < ABOVE)

    def _is_clear(self, plan: Plan, hand: Hand) -> bool:
        """Whether the hand has come away from the object that it let go."""
        away = max(RETREAT, float(np.linalg.norm(plan.way.slide)) - ABOVE)
        return bool(np.linalg.norm(hand.position - self._hold) > away)

    def _is_low(self, plan: Plan, before: Array) -> bool:
        """Whether the object is down, or, before it is slid over an edge, at the height for it."""
        return bool(abs(before[2]) < LEVEL if plan.way.slide.any() else -before[2] < SETTLED)

    def _rotation(self, plan: Plan, origin: Array) -> Array:
        """How the hand (3,3) should be turned; it turns the object once it is high, and keeps it so."""
        high = origin[2] > plan.start[2] + TURN_HEIGHT
        before = self.phase in (Phase.REACH, Phase.CLOSE, Phase.ASIDE) or (self.phase is Phase.CARRY and not high)
        return about_up(0.0 if before else plan.way.turn) @ plan.way.rotation

    def _skew(self, plan: Plan, hand: Hand, origin: Array) -> float:
        """Angle in rad between the hand and how it should be turned."""
        return float(np.linalg.norm(rotation_vector(self._rotation(plan, origin) @ hand.rotation.T)))

    def _has_closed(self, hand: Hand) -> bool:
        """Whether the fingers have come to a stop."""
        moved, self._opening = abs(hand.opening - self._opening), hand.opening
        return self._waited > CLOSING_STEPS or (self._waited > 3 and moved < CLOSED)

    def _lift_or_fail(self, plan: Plan, hand: Hand, origin: Array) -> None:
        """Goes on when the object is where it was to be between the fingers."""
        planned = plan.start - plan.way.position
        if np.linalg.norm(origin - hand.position - planned) > MISSED:
            self._fail(plan)
        else:
            self._enter(Phase.ASIDE if plan.aside.any() else Phase.CARRY, hold=hand.position)
            self._held = hand.rotation.T @ (origin - hand.position)

    def _has_slipped(self, hand: Hand, origin: Array) -> bool:
        moved = np.linalg.norm(hand.rotation.T @ (origin - hand.position) - self._held)
        return bool(moved > SLIP) or hand.opening < EMPTY

    def _enter(self, phase: Phase, *, hold: Array) -> None:
        self.phase, self._waited, self._hold = phase, 0, hold

    def _fail(self, plan: Plan) -> None:
        self._failed.append(plan.way.position - plan.start)
        self._start_over()

    def _start_over(self) -> None:
        self._enter(Phase.REACH, hold=np.zeros(3))
        self._plan, self._distance = None, np.inf
