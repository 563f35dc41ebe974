"""The last stop before an arm: limits on where, how fast and how jerkily it moves, and a watchdog that holds it.

Actions are end-effector deltas as in `contracts.LIBERO_ACTION`; the limits are in metres, radians and seconds and are
data (`configs/safety/*.yaml`). Every limit that acts is counted, and logged when it begins to act. This guards a policy
that misbehaves; it does not replace the arm's own safety controller. Numpy only. Letters: A action, S state.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vst_vla.vla.contracts import LIBERO_ACTION, ActionSpec, Array, unknown_name

log = logging.getLogger(__name__)

MOVE, TURN, GRIPPER = slice(0, 3), slice(3, 6), 6


@dataclass(frozen=True, kw_only=True)
class SafetyLimits:
    """What an arm is allowed to do. None means no limit.

    Args:
        control_hz: control steps a second.
        metres_per_unit, radians_per_unit: what an action of 1 moves and turns in one control step.
        workspace_low, workspace_high: corners of the box that the end effector stays in, xyz in m.
        max_speed: m/s.
        max_acceleration: m/s^2.
        max_turn_speed: rad/s.
        max_turn_acceleration: rad/s^2.
        gripper_steps: control steps in a row that a new gripper command must last before it is passed on.
        max_age_steps: control steps after which an action is too old to be executed.
        watchdog_s: seconds without a command after which the arm is told to hold.

    Raises:
        ValueError: for a limit that is not positive, or a box that is none.
    """

    control_hz: float = 20.0
    metres_per_unit: float = 0.05
    radians_per_unit: float = 0.5
    workspace_low: tuple[float, ...] | None = None
    workspace_high: tuple[float, ...] | None = None
    max_speed: float | None = None
    max_acceleration: float | None = None
    max_turn_speed: float | None = None
    max_turn_acceleration: float | None = None
    gripper_steps: int = 1
    max_age_steps: int | None = None
    watchdog_s: float = 0.2

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"{entry.name} is {value}, expected more than 0")
        _check_box(self.workspace_low, self.workspace_high)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> SafetyLimits:
        """Limits from plain values, such as a yaml's. Raises ValueError for an unknown or unusable entry."""
        names = [entry.name for entry in fields(cls)]
        for name, value in content.items():
            if name not in names:
                raise unknown_name("safety limit", name, names)
            if not _usable(value):
                raise ValueError(f"safety limit '{name}' is {value!r}, expected a number or a list of numbers")
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class _MotionLimit:
    """One half of the limits on motion, of translation or of rotation."""

    name: str
    part: slice
    speed_per_unit: float  # m/s or rad/s of an action of 1
    speed: float | None
    acceleration: float | None


class SafetyFilter:
    """Passes actions on, cut to the limits. One for each arm; not for two threads at once.

    Args:
        limits: what is allowed.
        spec: the range of the actions.
    """

    def __init__(self, limits: SafetyLimits, *, spec: ActionSpec = LIBERO_ACTION) -> None:
        self.limits, self._spec = limits, spec
        self._motions = _motion_limits(limits)
        self.counts: Counter[str] = Counter()
        self._acting: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """The arm stands still and a new episode starts; the counts stay."""
        self._before: Array = np.zeros(self._spec.dim)
        self._gripper: float | None = None
        self._asked, self._asked_for = 0.0, 0

    def apply(self, action: Array | None, *, state: Array, age: int = 0) -> Array | None:
        """The action (A,) that may be executed, or None: hold.

        Args:
            action: what is wanted, None for nothing.
            state: `observation.state` (S,), of which xyz is read.
            age: control steps since the observation that the action answers.
        """
        hits: set[str] = set()
        allowed = self._allowed(action, np.asarray(state, float), age, hits)
        self._note(hits, action)
        self._before = np.zeros(self._spec.dim) if allowed is None else allowed
        return None if allowed is None else allowed.astype(np.float32)

    def _allowed(self, action: Array | None, state: Array, age: int, hits: set[str]) -> Array | None:
        if action is None:
            return None
        if self.limits.max_age_steps is not None and age > self.limits.max_age_steps:
            hits.add("stale")
            return None
        if action.shape != (self._spec.dim,) or not np.isfinite(action).all() or not np.isfinite(state[:3]).all():
            hits.add("not_finite")
            return None
        wanted = action.astype(float)
        cut = self._spec.clip(wanted)
        if np.abs(cut - wanted).max() > 1e-6:
            hits.add("range")
        for motion in self._motions:
            self._limit_motion(cut, motion, hits)
        self._stay_inside(cut, state[:3], hits)
        cut[GRIPPER] = self._debounced(float(cut[GRIPPER]), hits)
        return cut

    def _limit_motion(self, action: Array, limit: _MotionLimit, hits: set[str]) -> None:
        """Cuts the change first and the speed after it, each without a change of its direction."""
        now, before = action[limit.part], self._before[limit.part]
        if limit.acceleration is not None:
            largest = limit.acceleration / self.limits.control_hz / limit.speed_per_unit
            now = before + _shortened(now - before, largest, f"{limit.name}_acceleration", hits)
        if limit.speed is not None:
            now = _shortened(now, limit.speed / limit.speed_per_unit, f"{limit.name}_speed", hits)
        action[limit.part] = now

    def _stay_inside(self, action: Array, position: Array, hits: set[str]) -> None:
        """Keeps the next position in the box; from outside it, only motion towards the box passes."""
        if self.limits.workspace_low is None or self.limits.workspace_high is None:
            return
        aim = position + action[MOVE] * self.limits.metres_per_unit
        low = np.minimum(self.limits.workspace_low, position)
        high = np.maximum(self.limits.workspace_high, position)
        inside = np.clip(aim, low, high)
        if np.abs(inside - aim).max() > 1e-9:
            hits.add("workspace")
            action[MOVE] = (inside - position) / self.limits.metres_per_unit

    def _debounced(self, wanted: float, hits: set[str]) -> float:
        """The gripper's last command until another sign was asked for often enough in a row."""
        if self._gripper is None or (wanted > 0) == (self._gripper > 0):
            self._gripper, self._asked_for = wanted, 0
            return wanted
        self._asked_for += 1
        if self._asked_for >= self.limits.gripper_steps:
            self._gripper, self._asked_for = wanted, 0
            return wanted
        hits.add("gripper")
        return self._gripper

    def _note(self, hits: set[str], action: Array | None) -> None:
        self.counts.update(hits)
        for name in sorted(hits - self._acting):
            shown = "nothing" if action is None else np.round(action, 3)
            log.warning("safety: '%s' acts on %s (%d times so far)", name, shown, self.counts[name])
        self._acting = hits


class Watchdog:
    """Calls `hold` from a thread of its own whenever it was not fed for `timeout_s` seconds, once for each silence.

    Args:
        hold: stops the arm; must be safe to call from another thread.
        timeout_s: the longest silence.
    """

    def __init__(self, hold: Callable[[], None], *, timeout_s: float) -> None:
        self._hold, self._timeout_s = hold, timeout_s
        self._fed, self._stopped = threading.Event(), False
        self.count = 0
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def feed(self) -> None:
        """A command was sent."""
        self._fed.set()

    def close(self) -> None:
        """Ends the thread."""
        self._stopped = True
        self._fed.set()
        self._thread.join()

    def _watch(self) -> None:
        self._fed.wait()  # nothing moves before the first command
        while not self._stopped:
            self._fed.clear()
            if not self._fed.wait(self._timeout_s) and not self._stopped:
                self.count += 1
                log.warning("safety: no command for %.3f s, the arm holds", self._timeout_s)
                self._try_to_hold()
                self._fed.wait()

    def _try_to_hold(self) -> None:
        try:
            self._hold()
        except OSError as error:
            log.error("safety: the arm could not be told to hold: %s", error)


def _motion_limits(limits: SafetyLimits) -> tuple[_MotionLimit, _MotionLimit]:
    move = _MotionLimit(
        name="move",
        part=MOVE,
        speed_per_unit=limits.metres_per_unit * limits.control_hz,
        speed=limits.max_speed,
        acceleration=limits.max_acceleration,
    )
    turn = _MotionLimit(
        name="turn",
        part=TURN,
        speed_per_unit=limits.radians_per_unit * limits.control_hz,
        speed=limits.max_turn_speed,
        acceleration=limits.max_turn_acceleration,
    )
    return move, turn


def _shortened(vector: Array, largest: float, name: str, hits: set[str]) -> Array:
    length = float(np.linalg.norm(vector))
    if length <= largest * (1 + 1e-6):
        return vector
    hits.add(name)
    return vector * (largest / length)


def _check_box(low: tuple[float, ...] | None, high: tuple[float, ...] | None) -> None:
    if (low is None) != (high is None):
        raise ValueError("only one corner of the workspace is given: give workspace_low and workspace_high")
    if low is None or high is None:
        return
    if not (len(low) == len(high) == 3 and all(a < b for a, b in zip(low, high, strict=True))):
        raise ValueError(f"the workspace goes from {low} to {high}, expected xyz in m, the lower corner first")


def _usable(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) else [value]
    return value is None or all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
