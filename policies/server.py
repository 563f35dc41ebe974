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
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from vst_vla.policies.chunking import OverlappingChunks
from vst_vla.policies.server_batching import Batcher
from vst_vla.policies.server_client import Client, ClientContext, ReadingConnection, RequestsUnderWay
from vst_vla.policies.server_limits import ServerLimits, authorised
from vst_vla.policies.server_metrics import ServerMetrics
from vst_vla.policies.server_reply import warm_up
from vst_vla.policies.server_request import PolicyNeeds, wire_name
from vst_vla.policies.signals import stop_on_signals
from vst_vla.policies.wire import Message, pack
from vst_vla.vla.contracts import Policy

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 1
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
        ensemble_every: control steps between two requests of a client that sends no `step`; past pictures go by it too.
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
    """Serves one stateless policy to many clients. Past pictures of a policy with image history it remembers itself.

    The policy is asked with a blank observation before the port opens, so that a checkpoint that does not run never
    listens and the first client does not wait.

    Args:
        policy: what acts. Its optional attributes `image_keys`, `state_spec`, `checkpoint`, `inpaints`, `history` and
            `chunk` go into the metadata and decide what a request must hold.
        settings: address and limits.
    """

    def __init__(self, policy: Policy, *, settings: ServerSettings) -> None:
        self.settings = settings
        self.metrics = ServerMetrics()
        self.needs = PolicyNeeds.of(policy)
        self._policy = policy
        self._draining = False

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
            "image_keys": [wire_name(key) for key in needs.image_keys],
            "inpaints": needs.inpaints,
            "history": list(needs.history),
        }

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then lets running requests end."""
        self.serve(stop=stop_on_signals(), on_ready=self._announce)

    def serve(self, *, stop: threading.Event, on_ready: Callable[[int], None]) -> None:
        """Warms up, listens, calls `on_ready` with the port, and serves until `stop` is set.

        Raises:
            ValueError: the port cannot be had.
        """
        warm_up(self._policy, needs=self.needs)
        server = self._listen()
        self._context = self._make_context()
        threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
        try:
            on_ready(server.socket.getsockname()[1])
            stop.wait()
        finally:
            self._drain(server)

    def _make_context(self) -> ClientContext:
        settings = self.settings
        return ClientContext(
            needs=self.needs,
            batcher=Batcher(self._policy, max_batch=settings.limits.max_batch, metrics=self.metrics),
            metrics=self.metrics,
            limits=settings.limits,
            under_way=RequestsUnderWay(),
            ensemble_decay=settings.ensemble_decay,
            ensemble_every=settings.ensemble_every,
        )

    def _announce(self, port: int) -> None:
        host = self.settings.host
        print(f"serving on ws://{host}:{port}   (http://{host}:{port}/healthz, /metrics; Ctrl-C stops)", flush=True)

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
                create_connection=ReadingConnection,
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
        """One client, from its metadata to its end; its requests are taken by the thread that reads its socket."""
        assert isinstance(connection, ReadingConnection)
        self.metrics.connected(+1)
        try:
            client = Client(connection, self._context)
            connection.on_message = client.receive
            connection.send(pack(self.metadata))
            while True:
                client.receive(connection.recv())  # what came before it was listened to; then waits for the end
        except ConnectionClosed as closed:
            log.info("client %s left: %s", connection.peer, closed)
            if closed.sent is not None and closed.sent.code in BROKEN_FRAMES:
                self.metrics.answered("refused", seconds=0.0)
        finally:
            self.metrics.connected(-1)

    def _drain(self, server: Server) -> None:
        """Takes no new clients, lets running requests end, closes the rest."""
        self._draining = True
        deadline = time.monotonic() + self.settings.grace_s
        self._context.under_way.wait_for_none(timeout_s=self.settings.grace_s)
        server.shutdown(reason="the server stops")
        self._context.batcher.stop(grace_s=max(0.0, deadline - time.monotonic()))


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in content.items()}
