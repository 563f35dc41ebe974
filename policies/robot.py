"""What a control loop needs of an arm, and an arm in another process, reached over a websocket. Without torch."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from vst_vla.policies.wire import Message, pack, unpack
from vst_vla.vla.contracts import Array, Observation


@dataclass(frozen=True, kw_only=True)
class RobotStatus:
    """Where an arm is after a control period.

    tick: control periods since the episode began, also those in which it held.
    held: of those, the ones in which no command was there in time, or the command was to hold.
    """

    state: Array  # (S,) as `observation.state`
    tick: int
    held: int
    success: bool
    done: bool


class Robot(Protocol):
    """An arm that is commanded once a control period."""

    def observe(self) -> Observation:
        """Pictures, state and task now."""
        ...

    def step(self, action: Array | None) -> RobotStatus:
        """Executes one action (A,), or holds for None, and returns when the control period is over."""
        ...

    def hold(self) -> None:
        """Stops at once. May be called from another thread."""
        ...


class WireRobotClient:
    """The arm that `scripts/wire_robot.py` runs. Its observations have openpi's keys.

    Args:
        uri: `ws://HOST:PORT`.
        timeout_s: longest wait for a reply.

    Raises:
        ConnectionError: no arm there, or it is lost.
    """

    def __init__(self, uri: str, *, timeout_s: float = 60.0) -> None:
        self._uri, self._timeout_s = uri, timeout_s
        self._lock = threading.Lock()
        self._connection = self._open()

    def reset(self, *, init_state: int) -> RobotStatus:
        """Starts an episode from one of the task's official initial states."""
        return _status(self._ask({"reset": init_state}))

    def observe(self) -> Observation:
        """Two pictures, state, prompt, with openpi's keys."""
        return self._ask({"observe": True})

    def step(self, action: Array | None) -> RobotStatus:
        """One control period."""
        return _status(self._ask({"action": action}))

    def hold(self) -> None:
        """Drops a command that waits for its control period."""
        self._ask({"hold": True})

    def close(self) -> None:
        """Ends the connection; the arm holds."""
        self._connection.close()

    def _ask(self, message: Message) -> dict[str, Any]:
        with self._lock:
            try:
                self._connection.send(pack(message))
                reply = self._connection.recv(timeout=self._timeout_s)
            except (WebSocketException, OSError) as error:
                raise ConnectionError(f"the robot at {self._uri} is lost: {error}") from error
        if isinstance(reply, str):
            raise ValueError(f"the robot at {self._uri} refused: {reply}")
        return unpack(reply)

    def _open(self) -> ClientConnection:
        try:
            return connect(self._uri, proxy=None, compression=None, max_size=None).__enter__()
        except (WebSocketException, OSError) as error:
            raise ConnectionError(f"no robot at {self._uri} ({error}): start one with scripts/wire_robot.py") from error


def _status(reply: dict[str, Any]) -> RobotStatus:
    return RobotStatus(
        state=reply["observation/state"],
        tick=reply["tick"],
        held=reply["held"],
        success=reply["success"],
        done=reply["done"],
    )
