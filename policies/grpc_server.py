"""A policy behind LeRobot's asynchronous inference protocol (gRPC), for the robot clients that LeRobot ships.

    server = GrpcPolicyServer(policy, settings=GrpcSettings(port=8080))
    server.run()          # until SIGTERM or Ctrl-C

The calls are those of `lerobot.async_inference`: Ready, SendPolicyInstructions, then SendObservations and GetActions
side by side. Four things differ from LeRobot's own server:

* The policy is the one that is served, whatever a client asks to be loaded.
* Clients' pickles are read as plain data and never unpickled (`grpc_pickle`).
* An observation is passed over only when its timestep was answered already. LeRobot's server also passes over those
  whose state is nearer than 1, in whatever unit, to the last one, which in metres and radians is nearly always so.
* The first action of a chunk is due after the last one that was executed when the observation was taken: it has the
  number `timestep` + 1. LeRobot's server gives it `timestep`, which the client drops as past, so that every chunk loses
  its first action.

A mistake is answered with a gRPC error whose details say what it is; the client logs it and the robot stands still.
The protocol has no key: whoever reaches the port can ask.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import numpy as np
from lerobot.transport import services_pb2, services_pb2_grpc

from vst_vla.policies.grpc_messages import read_observation_message, read_setup, write_actions
from vst_vla.policies.grpc_robot import RobotSession, RobotView, Waiting
from vst_vla.policies.server_batching import Batcher, Inference
from vst_vla.policies.server_limits import ServerLimits
from vst_vla.policies.server_metrics import ServerMetrics
from vst_vla.policies.server_reply import check_reply, explain, warm_up
from vst_vla.policies.server_request import PolicyNeeds
from vst_vla.policies.signals import stop_on_signals
from vst_vla.vla.contracts import Array, Observation, Policy

log = logging.getLogger(__name__)

PIECE_BYTES = 4 * 2**20
"""Largest piece of a streamed observation, as LeRobot's client has it; the whole is limited by `ServerLimits`."""
IDLE_S = 60.0
"""A robot that did nothing for so long is gone: a client asks for actions every few seconds."""
STRANGER_WAIT_S = 1.0
"""LeRobot's client asks again at once after an error; one that never introduced itself is slowed down to this."""

type Context = grpc.ServicerContext


@dataclass(frozen=True, kw_only=True)
class GrpcSettings:
    """How a policy is served to LeRobot's robot clients.

    Args:
        host: address to listen on; only this machine by default.
        port: TCP port, 0 for any free one.
        fps: control rate of the robots, Hz; stamps the actions of a chunk.
        cameras: the policy's camera -> the robots' name of it, where they differ.
        wait_s: how long a call for actions waits for an observation.
        grace_s: seconds that running calls get to end when the server stops.
        limits: sizes, rates, connections.

    Raises:
        ValueError: for a port, a rate or a time that cannot be.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    fps: float = 20.0
    cameras: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 2.0
    grace_s: float = 5.0
    limits: ServerLimits = field(default_factory=ServerLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, expected 0 to 65535")
        for name in ("fps", "wait_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"lerobot.{name} is {getattr(self, name)}, expected more than 0")


class GrpcPolicyServer:
    """Serves one stateless policy to many robots.

    Args:
        policy: what acts; see `PolicyServer` for its optional attributes.
        settings: address, cameras and limits.
    """

    def __init__(self, policy: Policy, *, settings: GrpcSettings) -> None:
        self.settings = settings
        self.metrics = ServerMetrics()
        self.needs = PolicyNeeds.of(policy)
        self._policy = policy
        for key in settings.cameras:
            _require_camera(key, self.needs)

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then lets running calls end."""
        self.serve(stop=stop_on_signals(), on_ready=self._announce)

    def serve(self, *, stop: threading.Event, on_ready: Callable[[int], None]) -> None:
        """Warms up, listens, calls `on_ready` with the port, and serves until `stop` is set.

        Raises:
            ValueError: the port cannot be had.
        """
        warm_up(self._policy, needs=self.needs)
        server = self._make_server()
        port = self._bind(server)
        batcher = Batcher(self._policy, max_batch=self.settings.limits.max_batch, metrics=self.metrics)
        services_pb2_grpc.add_AsyncInferenceServicer_to_server(_Servicer(self, batcher), server)
        server.start()
        try:
            on_ready(port)
            stop.wait()
        finally:
            server.stop(self.settings.grace_s).wait()
            batcher.stop(grace_s=self.settings.grace_s)

    def _make_server(self) -> grpc.Server:
        threads = 2 * self.settings.limits.max_connections + 2  # each robot waits in one call and sends in another
        return grpc.server(
            ThreadPoolExecutor(max_workers=threads, thread_name_prefix="grpc"),
            options=[("grpc.max_receive_message_length", PIECE_BYTES), ("grpc.so_reuseport", 0)],
            maximum_concurrent_rpcs=threads,
        )

    def _bind(self, server: grpc.Server) -> int:
        host, port = self.settings.host, self.settings.port
        try:
            return int(server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
        except RuntimeError as error:
            where = f"port {port} on {host}"
            raise ValueError(f"{where} cannot be opened: choose another with port=… or host=…") from error

    def _announce(self, port: int) -> None:
        print(f"serving LeRobot's robot clients on {self.settings.host}:{port}   (Ctrl-C stops)", flush=True)


class _Servicer(services_pb2_grpc.AsyncInferenceServicer):
    """The four calls. Each runs in a thread of gRPC's pool; a robot is known by its connection."""

    def __init__(self, server: GrpcPolicyServer, batcher: Batcher) -> None:
        self._settings, self._needs, self._metrics = server.settings, server.needs, server.metrics
        self._batcher = batcher
        self._lock = threading.Lock()
        self._sessions: dict[str, RobotSession] = {}

    def Ready(self, request: Any, context: Context) -> Any:
        """A client came, or begins anew."""
        if not self._admitted(context.peer()):
            self._metrics.turned_away("full")
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{len(self._sessions)} robots are connected: try later")
        return services_pb2.Empty()

    def SendPolicyInstructions(self, request: Any, context: Context) -> Any:
        """A client says what its robot looks like."""
        session, start = self._session(context), time.perf_counter()
        try:
            setup = read_setup(request.data)
            view = RobotView.of(setup, needs=self._needs, cameras=self._settings.cameras)
        except ValueError as error:
            self._refuse(context, error, start)
        session.introduce(setup, view)
        log.info("%s: a robot with cameras %s asked for %s", context.peer(), ", ".join(setup.cameras), setup.wanted)
        return services_pb2.Empty()

    def SendObservations(self, request_iterator: Iterator[Any], context: Context) -> Any:
        """One observation, in pieces."""
        start = time.perf_counter()
        session, view = self._introduced(context)
        if not session.may_send():
            rate = self._settings.limits.max_rate
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {rate:g} observations a second: slow down")
        try:
            sent = read_observation_message(self._whole(request_iterator))
            observation = view.observation(sent.values)
        except ValueError as error:
            self._refuse(context, error, start)
        session.offer(Waiting(observation=observation, sent=sent, received=start))
        return services_pb2.Empty()

    def GetActions(self, request: Any, context: Context) -> Any:
        """The chunk for the newest observation; an empty message when none came in time."""
        session, _ = self._introduced(context)
        waiting = session.take(timeout_s=self._settings.wait_s)
        if waiting is None:
            return services_pb2.Actions()
        try:
            observation = session.memory.complete(waiting.observation, step=waiting.sent.timestep)
            actions = self._infer(observation)[: session.actions_per_chunk]
        except Exception as error:
            self._refuse(context, error, waiting.received)
        sent = waiting.sent
        data = write_actions(actions, timestep=sent.timestep + 1, timestamp=sent.timestamp, fps=self._settings.fps)
        session.answered(sent.timestep)
        self._metrics.answered("ok", seconds=time.perf_counter() - waiting.received)
        return services_pb2.Actions(data=data)

    def _infer(self, observation: Observation) -> Array:
        """The chunk (C,A). Raises whatever the policy does, and RuntimeError for actions that cannot be sent."""
        outcome: Future[Inference] = Future()
        self._batcher.submit(observation, answer=outcome.set_result, fail=outcome.set_exception)
        actions = np.asarray(outcome.result().actions, np.float32)
        check_reply(actions, spec=self._needs.action)
        return actions

    def _whole(self, pieces: Iterator[Any]) -> bytes:
        """The pieces put together. Raises ValueError when they are too many bytes, or end without a last one."""
        limit, data = self._settings.limits.max_message_bytes, bytearray()
        for piece in pieces:
            if piece.transfer_state == services_pb2.TRANSFER_BEGIN:
                data.clear()
            data += piece.data
            if len(data) > limit:
                raise ValueError(f"observation has more than {limit / 2**20:g} MiB: send smaller pictures")
            if piece.transfer_state == services_pb2.TRANSFER_END:
                return bytes(data)
        raise ValueError("observation ends without its last piece")

    def _session(self, context: Context) -> RobotSession:
        with self._lock:
            session = self._sessions.get(context.peer())
        if session is None:
            self._turn_away(context, "the server does not know this robot: start its client again")
        session.last_seen = time.monotonic()
        return session

    def _introduced(self, context: Context) -> tuple[RobotSession, RobotView]:
        session = self._session(context)
        if session.view is None:
            self._turn_away(context, "the robot was not introduced: SendPolicyInstructions comes first")
        return session, session.view

    def _turn_away(self, context: Context, text: str) -> NoReturn:
        time.sleep(STRANGER_WAIT_S)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        raise AssertionError("abort raises")

    def _admitted(self, peer: str) -> bool:
        """Gives a robot a fresh session in the place of its own or of one that is gone; False when there is no room."""
        now, limits = time.monotonic(), self._settings.limits
        with self._lock:
            there = {p: s for p, s in self._sessions.items() if now - s.last_seen <= IDLE_S and p != peer}
            self._sessions = there
            if len(there) < limits.max_connections:
                there[peer] = RobotSession(limits=limits)
        return peer in there

    def _refuse(self, context: Context, error: Exception, start: float) -> NoReturn:
        """Ends the call with the reason."""
        seconds = time.perf_counter() - start
        text = explain(error, peer=context.peer(), metrics=self._metrics, seconds=seconds)
        code = grpc.StatusCode.INVALID_ARGUMENT if isinstance(error, ValueError) else grpc.StatusCode.INTERNAL
        context.abort(code, text)
        raise AssertionError("abort raises")


def _require_camera(key: str, needs: PolicyNeeds) -> None:
    known = [name.rpartition(".")[2] for name in needs.image_keys]
    if key.rpartition(".")[2] not in known:
        raise ValueError(f"lerobot.cameras names '{key}', the policy's cameras are {', '.join(known)}")
