"""A policy on another machine: an observation goes out over a websocket, an action chunk comes back.

    with PolicyClient("ws://gpu-machine:8000") as policy:
        actions = policy.infer(observation)["actions"]

Speaks to `vst-vla serve` and to any server of openpi's protocol. Needs numpy, msgpack and websockets, not torch.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from vst_vla.policies.wire import Message, pack, unpack
from vst_vla.vla.contracts import LIBERO_ACTION, ActionSpec, Array, Observation, StateSpec

DEFAULT_PORT = 8000


class PolicyUnavailable(ConnectionError):
    """No reply: the server is away, too slow, or was lost. The arm should hold; the next call tries again."""


class PolicyRefused(ValueError):
    """The server read the request and says what is wrong with it."""


class PolicyClient:
    """One connection to a policy server, opened again when it was lost.

    A reply that is late closes the connection: what arrives afterwards can never be taken for the answer to the next
    observation. Not for two threads at once.

    Args:
        uri: `ws://HOST:PORT` or `wss://…`; a bare HOST or HOST:PORT means ws.
        api_key: sent as `Authorization: Api-Key KEY`.
        timeout_s: longest wait for a reply, and for a request to be taken.
        connect_timeout_s: longest wait for a connection.
        retry_s: after a failed connection, calls fail at once for this long.

    Raises:
        ValueError: for an address that is not one, or times that are not positive.
    """

    def __init__(
        self,
        uri: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 1.0,
        connect_timeout_s: float = 1.0,
        retry_s: float = 0.25,
    ) -> None:
        for name, value in (("timeout_s", timeout_s), ("connect_timeout_s", connect_timeout_s)):
            if not value > 0:
                raise ValueError(f"{name} is {value}, expected more than 0 seconds")
        self.uri = _checked_uri(uri)
        self._headers = {"Authorization": f"Api-Key {api_key}"} if api_key else {}
        self._timeout_s, self._connect_timeout_s, self._retry_s = timeout_s, connect_timeout_s, retry_s
        self._connection: ClientConnection | None = None
        self._metadata: Message | None = None
        self._not_before = 0.0
        self._reset = False

    @property
    def metadata(self) -> Message:
        """What the server said of itself; connects when it has not yet."""
        if self._metadata is None:
            self._connected()
        assert self._metadata is not None
        return self._metadata

    @property
    def action_spec(self) -> ActionSpec:
        """The served policy's actions; LIBERO's where the server does not say."""
        content = self.metadata.get("action_spec")
        return ActionSpec(**_tupled(content)) if content else LIBERO_ACTION

    @property
    def state_spec(self) -> StateSpec | None:
        """The served policy's state, None where it reads none or the server does not say."""
        content = self.metadata.get("state_spec")
        return StateSpec(**_tupled(content)) if content else None

    @property
    def chunk(self) -> int | None:
        """Actions C in a reply, None where the server does not say."""
        return self.metadata.get("action_horizon")

    @property
    def inpaints(self) -> bool:
        """Whether the served policy continues `committed_actions`; False while no server was reached."""
        return bool(self._metadata and self._metadata.get("inpaints", False))

    def wait_until_ready(self, timeout_s: float) -> Message:
        """Tries to connect until it works; returns the metadata.

        Raises:
            PolicyUnavailable: no server within `timeout_s` seconds.
            PolicyRefused: the server turned this client away.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._not_before = 0.0
                self._connected()
                return self.metadata
            except PolicyUnavailable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(min(self._retry_s, 0.25))

    def infer(self, observation: Observation) -> dict[str, Any]:
        """One observation, with our keys or openpi's -> {"actions": (C, A) float32, timings}.

        Raises:
            PolicyUnavailable: no reply in time; the connection is opened again by the next call.
            PolicyRefused: the server's reason for not answering.
        """
        message = {**observation, "reset": True} if self._reset else observation
        reply = self._exchange(self._connected(), pack(message))
        self._reset = False
        return reply

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """`infer` on each."""
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        """Tells the server with the next observation that a new episode starts."""
        self._reset = True

    def close(self) -> None:
        """Closes the connection; the next call opens it again."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(WebSocketException, OSError):  # it is given up either way
                connection.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, connection: ClientConnection, data: bytes) -> dict[str, Any]:
        try:
            connection.send(data)
            reply = connection.recv(timeout=self._timeout_s)
        except (WebSocketException, OSError) as error:  # a TimeoutError is an OSError
            self._drop()
            raise PolicyUnavailable(f"no reply from {self.uri} ({_reason(error)})") from error
        if isinstance(reply, str):
            self.close()
            raise PolicyRefused(f"{self.uri} refused the observation: {reply}")
        return unpack(reply)

    def _connected(self) -> ClientConnection:
        if self._connection is None:
            if time.monotonic() < self._not_before:
                raise PolicyUnavailable(f"no server at {self.uri}: tried a moment ago")
            try:
                self._connection = self._open()
            except InvalidStatus as error:
                status, body = error.response.status_code, error.response.body or b""
                text = body.decode(errors="replace").strip()
                raise PolicyRefused(f"{self.uri} refused the connection ({status}): {text}") from error
            except (WebSocketException, OSError) as error:
                self._drop()
                raise PolicyUnavailable(f"no server at {self.uri} ({_reason(error)})") from error
        return self._connection

    def _open(self) -> ClientConnection:
        """A connection whose first frame, the metadata, was read."""
        parts = urlsplit(self.uri)
        port = parts.port or (443 if parts.scheme == "wss" else DEFAULT_PORT)
        sock = socket.create_connection((parts.hostname or "", port), timeout=self._connect_timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without it, sending to a server that is stuck would block once the kernel's buffer is full.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._timeout_s))
        connection = connect(
            self.uri,
            sock=sock,
            proxy=None,
            compression=None,
            max_size=None,
            open_timeout=self._connect_timeout_s,
            close_timeout=0.1,
            additional_headers=self._headers,
        ).__enter__()
        first = connection.recv(timeout=self._connect_timeout_s)
        self._metadata = unpack(first) if isinstance(first, bytes) else {}
        return connection

    def _drop(self) -> None:
        self.close()
        self._not_before = time.monotonic() + self._retry_s


def _checked_uri(uri: str) -> str:
    full = uri if "://" in uri else f"ws://{uri}"
    parts = urlsplit(full)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError(f"'{uri}' is no address of a policy server: give ws://HOST:PORT")
    if parts.port is None and parts.scheme == "ws":
        return f"ws://{parts.hostname}:{DEFAULT_PORT}{parts.path}"
    return full


def _tupled(content: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
