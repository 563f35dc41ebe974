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

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

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
READ_SIZE = 96 * 2**10
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

        async def until_signal() -> None:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            await self.serve(stop=stop, on_ready=self._announce)

        asyncio.run(until_signal())

    async def serve(self, *, stop: asyncio.Event, on_ready: Callable[[int], None]) -> None:
        """Warms up, listens, calls `on_ready` with the port, and serves until `stop` is set.

        Raises:
            ValueError: the port cannot be had.
        """
        await asyncio.to_thread(self._warm_up)
        self._batcher = Batcher(self._policy, max_batch=self.settings.limits.max_batch, metrics=self.metrics)
        try:
            server = await self._listen()
            on_ready(server.sockets[0].getsockname()[1])
            await stop.wait()
            await self._drain(server)
        finally:
            await self._batcher.stop(grace_s=self.settings.grace_s)

    def _announce(self, port: int) -> None:
        host = self.settings.host
        print(f"serving on ws://{host}:{port}   (http://{host}:{port}/healthz, /metrics; Ctrl-C stops)", flush=True)

    def _warm_up(self) -> None:
        blank = self.needs.blank(image_size=224)
        for _ in range(WARM_UP_RUNS):
            (reply,) = self._policy.infer_batch([blank])
        self.needs.action.check(reply["actions"])

    async def _listen(self) -> Server:
        settings = self.settings
        try:
            return await serve(
                self._handle,
                settings.host,
                settings.port,
                origins=[None],
                compression=None,
                max_size=settings.limits.max_message_bytes,
                max_queue=2,
                process_request=self._admit,
                create_connection=_Connection,
            )
        except OSError as error:
            where = f"port {settings.port} on {settings.host}"
            reason = error.strerror or error
            raise ValueError(f"{where} cannot be opened ({reason}): choose another with port=… or host=…") from error

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
        if self.metrics.connections >= self.settings.limits.max_connections:
            self.metrics.turned_away("full")
            return connection.respond(503, f"{self.metrics.connections} clients are connected already: try later\n")
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        """One client, from its metadata to its end."""
        self.metrics.connected(+1)
        try:
            await connection.send(pack(self.metadata))
            await self._converse(connection, _Session(self.settings))
        except ConnectionClosed as closed:
            log.info("client %s left: %s", connection.remote_address, closed)
            if closed.sent is not None and closed.sent.code in BROKEN_FRAMES:
                self.metrics.answered("refused", seconds=0.0)
        finally:
            self._busy.discard(connection)
            self.metrics.connected(-1)

    async def _converse(self, connection: ServerConnection, session: _Session) -> None:
        while not self._draining:
            data = await connection.recv()
            start = time.perf_counter()
            self._busy.add(connection)
            try:
                reply = await self._reply(data, session)
            except Exception as error:  # the client is told, whatever it is; the server stays
                await self._refuse(connection, error, seconds=time.perf_counter() - start)
                return
            await connection.send(reply)
            self._busy.discard(connection)
            session.prev_total_ms = (time.perf_counter() - start) * 1e3
            self.metrics.answered("ok", seconds=session.prev_total_ms / 1e3)
        await connection.close(1001, "the server stops")

    async def _reply(self, data: str | bytes, session: _Session) -> bytes:
        if not session.bucket.take(now=time.monotonic()):
            raise RateExceeded(f"more than {self.settings.limits.max_rate:g} requests a second: slow down")
        if isinstance(data, str):
            raise ValueError("message is text, expected a binary frame of msgpack")
        message = unpack(data)
        if read_reset(message):
            session.reset()
        if is_only_reset(message):
            return pack({RESET_KEY: True})
        step = read_step(message)
        start = time.perf_counter()
        inference = await self._batcher.infer(read_observation(message, needs=self.needs))
        waited_ms = (time.perf_counter() - start) * 1e3
        return pack(session.message(inference, step=step, waited_ms=waited_ms, needs=self.needs))

    async def _refuse(self, connection: ServerConnection, error: Exception, *, seconds: float) -> None:
        mistake = isinstance(error, ValueError)
        text = " ".join(str(error).split()) if mistake else f"the policy failed: {type(error).__name__}: {error}"
        self.metrics.answered("refused" if mistake else "failed", seconds=seconds)
        log.log(logging.WARNING if mistake else logging.ERROR, "%s: %s", connection.remote_address, text)
        if not mistake:
            log.error("traceback", exc_info=error)
        await connection.send(text)
        code = POLICY_VIOLATION if isinstance(error, RateExceeded) else INTERNAL_ERROR
        await connection.close(code, text.encode()[:120].decode(errors="ignore"))

    async def _drain(self, server: Server) -> None:
        """Takes no new clients, lets running requests end, closes the rest."""
        self._draining = True
        server.close(close_connections=False)
        idle = [c for c in server.connections if c not in self._busy]
        await asyncio.gather(*(c.close(1001, "the server stops") for c in idle))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), self.settings.grace_s)
            return
        await asyncio.gather(*(c.close(1001, "the server stops") for c in server.connections))


class RateExceeded(ValueError):
    """A client sends faster than it may."""


class _Connection(ServerConnection):
    """A connection that reads in pieces of 96 KiB instead of asyncio's 256.

    The C library maps fresh memory for every piece from 128 KiB on, and paying for its pages costs more time than
    fewer pieces save.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once the client is there."""
        setattr(transport, "max_size", READ_SIZE)  # noqa: B010 (an attribute that asyncio's types do not name)
        super().connection_made(transport)


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
