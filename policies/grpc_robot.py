"""One robot behind a gRPC connection: how its values become the policy's observation, and its newest observation.

Letters: H/W pixels, S state.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vst_vla.policies.grpc_messages import PICTURE_FEATURES, RobotSetup, TimedValues
from vst_vla.policies.picture_memory import PictureMemory
from vst_vla.policies.server_limits import ServerLimits, TokenBucket
from vst_vla.policies.server_request import PolicyNeeds, read_observation
from vst_vla.policies.wire import Message
from vst_vla.vla.contracts import STATE_KEY, TASK_KEY, Observation, StateSpec, near_miss

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RobotView:
    """Which of a robot's values make up the policy's observation.

    Args:
        needs: what the policy looks at.
        pictures: the policy's picture key -> the robot's name of the camera.
        state: the robot's names of the state's numbers, in the policy's order.
    """

    needs: PolicyNeeds
    pictures: Mapping[str, str]
    state: tuple[str, ...]

    @classmethod
    def of(cls, setup: RobotSetup, *, needs: PolicyNeeds, cameras: Mapping[str, str]) -> RobotView:
        """Matches a robot with a policy.

        Args:
            setup: the robot.
            needs: the policy.
            cameras: the policy's camera (`image` is short for `observation.images.image`) -> the robot's; a camera
                that is not named has the same name on both sides, or the one that the client says.

        Raises:
            ValueError: a camera that the robot does not have, or another number of state values.
        """
        named = {_full(key): name for key, name in cameras.items()}
        renamed = {_full(ours): theirs.removeprefix(PICTURE_FEATURES) for theirs, ours in setup.renamed.items()}
        pictures = {key: named.get(key) or renamed.get(key) or _short(key) for key in needs.image_keys}
        for key, name in pictures.items():
            if name not in setup.cameras:
                raise ValueError(
                    f"the robot has no camera '{name}' for the policy's '{_short(key)}', name it so or serve with "
                    f"lerobot.cameras={{{_short(key)}: NAME}}: {near_miss(name, setup.cameras)}"
                )
        _check_state(setup.state_names, needs.state)
        return cls(needs=needs, pictures=pictures, state=setup.state_names)

    def observation(self, values: Mapping[str, Any]) -> Observation:
        """The policy's observation. Raises ValueError for a value that is missing or of another kind or size."""
        message: Message = {key: _get(values, name) for key, name in self.pictures.items()}
        if self.state:
            message[STATE_KEY] = np.array([_number(values, name) for name in self.state])
        message[TASK_KEY] = _get(values, TASK_KEY)
        return read_observation(message, needs=self.needs)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An observation that no pass has taken yet."""

    observation: Observation
    sent: TimedValues
    received: float  # time.perf_counter()


class RobotSession:
    """One connected robot, from its introduction on.

    Only the newest observation waits. One of a timestep that was answered already is dropped, unless the robot stands
    still: its actions are on their way.

    Args:
        limits: rate and burst of observations.
    """

    def __init__(self, *, limits: ServerLimits) -> None:
        self.view: RobotView | None = None
        self.memory = PictureMemory((), history=())
        self.actions_per_chunk = 0
        self.last_seen = time.monotonic()
        self._bucket = TokenBucket(rate=limits.max_rate, burst=limits.burst, now=self.last_seen)
        self._changed = threading.Condition()
        self._waiting: Waiting | None = None
        self._answered = -1

    def introduce(self, setup: RobotSetup, view: RobotView) -> None:
        """The robot said what it is; whatever waited is forgotten."""
        with self._changed:
            self.view, self.actions_per_chunk = view, setup.actions_per_chunk
            self.memory = PictureMemory(view.needs.image_keys, history=view.needs.history)
            self._waiting, self._answered = None, -1

    def may_send(self) -> bool:
        """Whether one more observation fits into the rate."""
        return self._bucket.take(now=time.monotonic())

    def offer(self, waiting: Waiting) -> None:
        """Keeps an observation in the place of an older one."""
        with self._changed:
            if waiting.sent.must_go or waiting.sent.timestep > self._answered:
                self._waiting = waiting
                self._changed.notify()

    def take(self, *, timeout_s: float) -> Waiting | None:
        """The newest observation, or None when there is none for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None, timeout_s)
            taken, self._waiting = self._waiting, None
            return taken

    def answered(self, timestep: int) -> None:
        """A chunk for this timestep is on its way."""
        with self._changed:
            self._answered = timestep


def _full(key: str) -> str:
    return key if key.startswith(PICTURE_FEATURES) else f"{PICTURE_FEATURES}{key}"


def _short(key: str) -> str:
    return key.removeprefix(PICTURE_FEATURES)


def _check_state(names: tuple[str, ...], spec: StateSpec | None) -> None:
    if spec is None:
        return
    if len(names) != spec.dim:
        raise ValueError(
            f"the robot has {len(names)} state numbers ({', '.join(names)}), the policy was trained on {spec.dim} "
            f"({', '.join(spec.names)}): serve a policy for this robot"
        )
    if names != spec.names:
        log.warning("the robot calls its state %s, the policy %s", ", ".join(names), ", ".join(spec.names))


def _get(values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise ValueError(f"observation has no '{name}': found {', '.join(list(values)[:20]) or 'nothing'}")
    return values[name]


def _number(values: Mapping[str, Any], name: str) -> float:
    value = _get(values, name)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"'{name}' is {type(value).__name__}, expected a number")
    return float(value)
