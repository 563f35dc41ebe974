"""A policy behind a websocket that openpi clients already speak to, with its health and its metrics on the same port.

    server = PolicyServer(policy, settings=ServerSettings(port=8000))
    server.run()          # until SIGTERM or Ctrl-C

On connecting, a client gets one binary frame, the metadata; then every binary frame is an observation and is answered
by one: `actions` (C,A) float32 in physical units, `policy_timing`, `server_timing`, and `step` when the request had
one. A mistake is answered by a text frame that says what it is, and the connection is closed with code 1011, as openpi
does. The reply has no `state`: openpi's ActionChunkBroker cuts every array of a reply into steps.

`GET /healthz` says OK; `GET /metrics` is in Prometheus' format. A browser cannot connect (its Origin is refused).
"""

from __future__ import annotations

import logging
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from vst_vla.policies.chunking import OverlappingChunks
from vst_vla.policies.server_batching import Batcher, Inference
from vst_vla.policies.server_limits import ServerLimits, TokenBucket, authorised
from vst_vla.policies.server_metrics import ServerMetrics
from vst_vla.policies.server_request import (
    OPENPI_KEYS,
    RESET_KEY,
    STEP_KEY,
    PolicyNeeds,
    is_only_reset,
    read_observation,
    read_reset,
    read_step,
)
from vst_vla.policies.wire import Message, pack, unpack
from vst_vla.vla.contracts import ActionSpec, Array, Policy

log = logging.getLogger(__name__)

PATHS = ("/healthz", "/metrics")
WARM_UP_RUNS = 2
SEND_TIMEOUT_S = 1
STOPPING = "the server stops"
INTERNAL_ERROR, POLICY_VIOLATION = 1011, 1008
BROKEN_FRAMES = (1002, 1007, 1009)
"""Closing codes that the websocket layer itself sends: broken framing, broken text, a message that is too large."""


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How a policy is served.

    Args:
        host: address to listen on; only this machine by default.
        port: TCP port, 0 for any free one.
        api_key: what clients must send as `Authorization: Api-Key KEY`; None lets everyone in.
        ensemble_decay: averages a client's overlapping chunks (temporal ensembling); None sends them as they are.
        ensemble_every: control steps between two requests of a client that sends no `step`.
        grace_s: seconds that running requests get to end when the server stops.
        limits: sizes, rates, connections.

    Raises:
        ValueError: for an empty key, or an interval below one step.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    ensemble_decay: float | None = None
    ensemble_every: int = 1
    grace_s: float = 5.0
    limits: ServerLimits = field(default_factory=ServerLimits)

    def __post_init__(self) -> None:
        if self.api_key is not None and not self.api_key.strip():
            raise ValueError("the API key is empty: set one, or leave it out to let everyone in")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, expected 0 to 65535")
        if self.ensemble_decay is not None:
            OverlappingChunks(decay=self.ensemble_decay)  # refuses one that makes no sense
        if self.ensemble_every < 1:
            raise ValueError(f"ensemble_every is {self.ensemble_every}, expected at least 1 control step")


class PolicyServer:
    """Serves one stateless policy to many clients.

    The policy is asked with a blank observation before the port opens, so that a checkpoint that does not run never
    listens and the first client does not wait.

    Args:
        policy: what acts. Its optional attributes `image_keys`, `state_spec`, `checkpoint`, `inpaints` and `chunk` go
            into the metadata and decide what a request must hold.
        settings: address and limits.
    """

    def __init__(self, policy: Policy, *, settings: ServerSettings) -> None:
        self.settings = settings
        self.metrics = ServerMetrics()
        self.needs = PolicyNeeds.of(policy)
        self._policy = policy
        self._draining = False
        self._busy: set[ServerConnection] = set()

    @property
    def metadata(self) -> Message:
        """The first frame of a connection."""
        needs = self.needs
        return {
            "server": "vst-vla",
            "version": version("vst-vla"),
            "checkpoint": getattr(self._policy, "checkpoint", ""),
            "action_horizon": getattr(self._policy, "chunk", None),
            "action_spec": _plain(needs.action.to_dict()),
            "state_spec": _plain(needs.state.to_dict()) if needs.state else None,
            "image_keys": [OPENPI_KEYS[key] for key in needs.image_keys],
            "inpaints": needs.inpaints,
        }

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then lets running requests end."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        self.serve(stop=stop, on_ready=self._announce)

    def serve(self, *, stop: threading.Event, on_ready: Callable[[int], None]) -> None:
        """Warms up, listens, calls `on_ready` with the port, and serves until `stop` is set.

        Raises:
            ValueError: the port cannot be had.
        """
        self._warm_up()
        server = self._listen()
        self._batcher = Batcher(self._policy, max_batch=self.settings.limits.max_batch, metrics=self.metrics)
        threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
        try:
            on_ready(server.socket.getsockname()[1])
            stop.wait()
        finally:
            self._drain(server)

    def _announce(self, port: int) -> None:
        host = self.settings.host
        print(f"serving on ws://{host}:{port}   (http://{host}:{port}/healthz, /metrics; Ctrl-C stops)", flush=True)

    def _warm_up(self) -> None:
        blank = self.needs.blank(image_size=224)
        for _ in range(WARM_UP_RUNS):
            (reply,) = self._policy.infer_batch([blank])
        self.needs.action.check(reply["actions"])

    def _listen(self) -> Server:
        settings = self.settings
        try:
            server = serve(
                self._handle,
                settings.host,
                settings.port,
                origins=[None],
                compression=None,
                max_size=settings.limits.max_message_bytes,
                max_queue=2,
                process_request=self._admit,
            )
        except OSError as error:
            where = f"port {settings.port} on {settings.host}"
            reason = error.strerror or error
            raise ValueError(f"{where} cannot be opened ({reason}): choose another with port=… or host=…") from error
        # Every connection inherits it: a client that does not read its replies may not keep the others waiting.
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT_S, 0))
        return server

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers plain HTTP, and turns away who has no key or comes when the server is full."""
        path = request.path.split("?")[0]
        if path == "/healthz":
            return connection.respond(200, "OK\n")
        if not authorised(request.headers.get("Authorization"), key=self.settings.api_key):
            self.metrics.turned_away("key")
            return connection.respond(401, "wrong or missing API key: send 'Authorization: Api-Key KEY'\n")
        if path == "/metrics":
            return connection.respond(200, self.metrics.render())
        if self._draining or self.metrics.connections >= self.settings.limits.max_connections:
            self.metrics.turned_away("full")
            return connection.respond(503, f"{self.metrics.connections} clients are connected already: try later\n")
        return None

    def _handle(self, connection: ServerConnection) -> None:
        """One client, from its metadata to its end, in a thread of its own."""
        self.metrics.connected(+1)
        try:
            connection.send(pack(self.metadata))
            self._converse(connection, _Session(self.settings))
        except ConnectionClosed as closed:
            log.info("client %s left: %s", connection.remote_address, closed)
            if closed.sent is not None and closed.sent.code in BROKEN_FRAMES:
                self.metrics.answered("refused", seconds=0.0)
        finally:
            self._busy.discard(connection)
            self.metrics.connected(-1)

    def _converse(self, connection: ServerConnection, session: _Session) -> None:
        while not self._draining:
            data = connection.recv()
            start = time.perf_counter()
            self._busy.add(connection)
            try:
                self._reply(connection, data, session)
            except ConnectionClosed:
                raise
            except Exception as error:  # the client is told, whatever it is; the server stays
                self._refuse(connection, error, seconds=time.perf_counter() - start)
                return
            self._busy.discard(connection)
            session.prev_total_ms = (time.perf_counter() - start) * 1e3
            self.metrics.answered("ok", seconds=session.prev_total_ms / 1e3)
        connection.close(1001, STOPPING)

    def _reply(self, connection: ServerConnection, data: str | bytes, session: _Session) -> None:
        """Answers one request; raises when it cannot be answered."""
        if not session.bucket.take(now=time.monotonic()):
            raise RateExceeded(f"more than {self.settings.limits.max_rate:g} requests a second: slow down")
        if isinstance(data, str):
            raise ValueError("message is text, expected a binary frame of msgpack")
        message = unpack(data)
        if read_reset(message):
            session.reset()
        if is_only_reset(message):
            connection.send(pack({RESET_KEY: True}))
            return
        step = read_step(message)
        start = time.perf_counter()

        def answer(inference: Inference) -> None:
            waited_ms = (time.perf_counter() - start) * 1e3
            connection.send(pack(session.message(inference, step=step, waited_ms=waited_ms, needs=self.needs)))

        self._batcher.infer(read_observation(message, needs=self.needs), answer=answer)

    def _refuse(self, connection: ServerConnection, error: Exception, *, seconds: float) -> None:
        mistake = isinstance(error, ValueError)
        text = " ".join(str(error).split()) if mistake else f"the policy failed: {type(error).__name__}: {error}"
        self.metrics.answered("refused" if mistake else "failed", seconds=seconds)
        log.log(logging.WARNING if mistake else logging.ERROR, "%s: %s", connection.remote_address, text)
        if not mistake:
            log.error("traceback", exc_info=error)
        connection.send(text)
        code = POLICY_VIOLATION if isinstance(error, RateExceeded) else INTERNAL_ERROR
        connection.close(code, text.encode()[:120].decode(errors="ignore"))

    def _drain(self, server: Server) -> None:
        """Takes no new clients, lets running requests end, closes the rest."""
        self._draining = True
        deadline = time.monotonic() + self.settings.grace_s
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.01)
        self._batcher.stop(grace_s=max(0.0, deadline - time.monotonic()))
        server.shutdown(reason=STOPPING)


class RateExceeded(ValueError):
    """A client sends faster than it may."""


class _Session:
    """What the server remembers of one connection."""

    def __init__(self, settings: ServerSettings) -> None:
        limits, decay = settings.limits, settings.ensemble_decay
        self.bucket = TokenBucket(rate=limits.max_rate, burst=limits.burst, now=time.monotonic())
        self.prev_total_ms: float | None = None
        self._chunks = None if decay is None else OverlappingChunks(decay=decay)
        self._every = settings.ensemble_every
        self._start = -self._every  # of the last chunk

    def reset(self) -> None:
        """A new episode: nothing of the last one is averaged in."""
        self._start = -self._every
        if self._chunks is not None:
            self._chunks.clear()

    def message(self, inference: Inference, *, step: int | None, waited_ms: float, needs: PolicyNeeds) -> Message:
        """The reply. Raises RuntimeError when the policy's actions are not finite or out of range."""
        actions = np.asarray(inference.actions, np.float32)
        if not _plainly_good(actions, needs.action):
            try:
                needs.action.check(actions)
            except ValueError as error:
                raise RuntimeError(f"its reply cannot be sent: {error}") from error
        server = {"infer_ms": waited_ms, "batch": inference.batch}
        if self.prev_total_ms is not None:
            server["prev_total_ms"] = self.prev_total_ms
        reply: Message = {"actions": self._averaged(actions, step), "server_timing": server}
        reply["policy_timing"] = {"infer_ms": inference.infer_ms}
        return reply if step is None else reply | {STEP_KEY: step}

    def _averaged(self, actions: Array, step: int | None) -> Array:
        if self._chunks is None:
            return actions
        start = self._start + self._every if step is None else step
        if start < self._start:  # the client's count began anew, and so did its episode
            self._chunks.clear()
        self._start = start
        self._chunks.add(actions, step=start)
        averaged = [self._chunks.at(start + i) for i in range(len(actions))]
        return np.stack([action for action in averaged if action is not None])


def _plainly_good(actions: Array, spec: ActionSpec) -> bool:
    """The usual case of `spec.check`, in a quarter of its time: nothing is outside, and NaN compares as outside."""
    return (
        actions.ndim == 2
        and actions.shape[1] == spec.dim
        and bool(actions.min() >= spec.low)
        and bool(actions.max() <= spec.high)
    )


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}
