"""A policy server in a thread, and policies whose reply shows which observation it answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from vst_vla.policies.server import PolicyServer, ServerSettings
from vst_vla.vla.contracts import (
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    STATE_KEY,
    TASK_KEY,
    ActionSpec,
    Array,
    Observation,
    StateSpec,
)


@dataclass
class CountingPolicy:
    """Step i of its chunk has state[0] + i / 100 in the first place; it keeps what it was asked."""

    chunk: int = 8
    seconds: float = 0.0
    inpaints: bool = False
    action_spec: ActionSpec = LIBERO_ACTION
    state_spec: StateSpec = LIBERO_STATE
    checkpoint: str = "0123456789ab"
    history: tuple[int, ...] = ()
    batches: list[list[Observation]] = field(default_factory=list)

    def infer(self, observation: Observation) -> dict[str, Array]:
        return self.infer_batch([observation])[0]

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        self.batches.append(list(observations))
        time.sleep(self.seconds)
        for observation in observations:
            if observation[TASK_KEY] == "break":
                raise RuntimeError("the weights are gone")
        return [{"actions": self._actions(observation)} for observation in observations]

    def reset(self) -> None:
        """Stateless."""

    def _actions(self, observation: Observation) -> Array:
        actions = np.zeros((self.chunk, 7), np.float32)
        actions[:, 0] = observation[STATE_KEY][0] + np.arange(self.chunk) / 100
        if observation[TASK_KEY] == "dream":
            actions[0, 1] = np.nan
        return actions


@dataclass
class RunningServer:
    """Where it listens, and how to stop it."""

    port: int
    server: PolicyServer
    stop: Callable[[], None]

    @property
    def uri(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@contextmanager
def running_server(policy: object, **settings: object) -> Iterator[RunningServer]:
    server = PolicyServer(policy, settings=ServerSettings(**{"port": 0, **settings}))
    ready: Future[int] = Future()
    stop = threading.Event()

    def run() -> None:
        try:
            server.serve(stop=stop, on_ready=ready.set_result)
        except Exception as error:
            ready.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    port = ready.result(timeout=30)
    try:
        yield RunningServer(port=port, server=server, stop=stop.set)
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.fixture
def counting_policy() -> type[CountingPolicy]:
    return CountingPolicy


@pytest.fixture
def serving() -> Callable[..., AbstractContextManager[RunningServer]]:
    """`with serving(policy, **settings) as running:`."""
    return running_server


@pytest.fixture
def request_of() -> Callable[..., Observation]:
    """A good request with openpi's keys; changes by name, `...` leaves a key out."""

    def make(number: int = 0, *, size: int = 224, **changes: object) -> Observation:
        rng = np.random.default_rng(number)
        state = np.zeros(8, np.float32)
        state[0] = number / 1000
        message = {
            "observation/image": rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
            "observation/wrist_image": rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
            "observation/state": state,
            "prompt": "pick up the soup",
        }
        message |= changes
        return {key: value for key, value in message.items() if value is not ...}

    return make


@pytest.fixture
def our_keys() -> tuple[str, ...]:
    return (*IMAGE_KEYS, STATE_KEY, TASK_KEY)
