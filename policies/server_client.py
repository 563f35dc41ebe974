"""One client of a policy server: its requests, what is remembered of it, and how it is refused.

A request is read and checked in the thread that reads the client's socket, and answered by the inference thread: one
change of threads, since each costs about as much as everything else that a server does to a request.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import Event
from websockets.sync.server import ServerConnection

from vst_vla.policies.chunking import OverlappingChunks
from vst_vla.policies.picture_memory import PictureMemory
from vst_vla.policies.server_batching import Batcher, Inference
from vst_vla.policies.server_limits import ServerLimits, TokenBucket
from vst_vla.policies.server_metrics import ServerMetrics
from vst_vla.policies.server_reply import check_reply, explain
from vst_vla.policies.server_request import (
    RESET_KEY,
    PolicyNeeds,
    is_only_reset,
    read_observation,
    read_reset,
    read_step,
)
from vst_vla.policies.wire import Message, pack, unpack
from vst_vla.vla.contracts import STEP_KEY, Array

log = logging.getLogger(__name__)

INTERNAL_ERROR, POLICY_VIOLATION = 1011, 1008


class ReadingConnection(ServerConnection):
    """Hands each message to `on_message` in the thread that reads the socket, instead of waking another for it.

    Before `on_message` is set, messages wait for `recv` as in any connection.
    """

    recv_bufsize = 127 * 2**10  # from 128 KiB on, the C library maps fresh memory for every piece
    on_message: Callable[[str | bytes], None] | None = None
    _parts: tuple[bytes, ...] = ()
    _is_text = False

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        self.peer = str(sock.getpeername())  # asked now: a closed socket no longer knows
        super().__init__(sock, *arguments, **options)

    def process_event(self, event: Event) -> None:
        """Called by websockets with every frame."""
        if self.on_message is None or not (isinstance(event, Frame) and event.opcode in DATA_OPCODES):
            super().process_event(event)
            return
        if event.opcode is not Opcode.CONT:
            self._is_text = event.opcode is Opcode.TEXT
        self._parts = (*self._parts, bytes(event.data))
        if event.fin:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts = ()
            self.on_message(data.decode(errors="replace") if self._is_text else data)


class RequestsUnderWay:
    """How many requests are being answered, over all clients."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0

    def change(self, by: int) -> None:
        """One more (+1) or one fewer (-1)."""
        with self._lock:
            self._count += by

    def wait_for_none(self, *, timeout_s: float) -> None:
        """Returns when there are none, or after `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while self._count and time.monotonic() < deadline:
            time.sleep(0.01)


@dataclass(frozen=True, kw_only=True)
class ClientContext:
    """What all clients of one server share.

    ensemble_decay, ensemble_every: see `ServerSettings`.
    """

    needs: PolicyNeeds
    batcher: Batcher
    metrics: ServerMetrics
    limits: ServerLimits
    under_way: RequestsUnderWay
    ensemble_decay: float | None
    ensemble_every: int


class RefusedForPace(ValueError):
    """A client sends faster than it may, or without waiting for its reply."""


class Client:
    """Answers the requests of one connection, one at a time."""

    def __init__(self, connection: ReadingConnection, context: ClientContext) -> None:
        self._connection, self._shared = connection, context
        self._steps = RequestSteps(every=context.ensemble_every)
        self._averager = Averager(decay=context.ensemble_decay)
        self._memory = PictureMemory(context.needs.image_keys, history=context.needs.history)
        limits = context.limits
        self._bucket = TokenBucket(rate=limits.max_rate, burst=limits.burst, now=time.monotonic())
        self._prev_total_ms: float | None = None
        self._refused = False
        self._counts = False  # whether steps are counted here that the policy goes by
        self._free = threading.Lock()  # held while a request waits for its reply

    def receive(self, data: str | bytes) -> None:
        """Takes one message; its answer, or its refusal, is sent from another thread. Never raises."""
        if self._refused:
            return
        start = time.perf_counter()
        self._shared.under_way.change(+1)
        try:
            self._request(data, start)
        except Exception as error:  # the client is told, whatever it is; the server stays
            self._refuse_soon(error, start)

    def _request(self, data: str | bytes, start: float) -> None:
        if not self._bucket.take(now=time.monotonic()):
            raise RefusedForPace(f"more than {self._shared.limits.max_rate:g} requests a second: slow down")
        if not self._free.acquire(blocking=False):
            raise RefusedForPace("a request came before the reply to the last one: wait for it")
        if isinstance(data, str):
            raise ValueError("message is text, expected a binary frame of msgpack")
        message = unpack(data)
        if read_reset(message):
            self._begin_episode()
        if is_only_reset(message):
            self._send({RESET_KEY: True}, start)
            return
        said = read_step(message)
        observation = read_observation(message, needs=self._shared.needs)
        step = self._step(said)
        self._shared.batcher.submit(
            self._memory.complete(observation, step=step),
            answer=lambda inference: self._send(self._reply(inference, step=step, said=said, start=start), start),
            fail=lambda error: self._refuse_soon(error, start),
        )

    def _step(self, said: int | None) -> int:
        if said is None and self._shared.needs.history and not self._counts:
            self._counts = True
            log.warning(
                "%s sends no '%s': its requests are taken for %d control steps apart (ensemble.every), and its past "
                "pictures go by that",
                self._connection.peer,
                STEP_KEY,
                self._shared.ensemble_every,
            )
        return self._steps.next(said)

    def _begin_episode(self) -> None:
        self._steps.reset()
        self._averager.reset()
        self._memory.clear()

    def _reply(self, inference: Inference, *, step: int, said: int | None, start: float) -> Message:
        """The reply to the request of a step, with the step where the client said it.

        Raises RuntimeError when the policy's actions are not finite or out of range.
        """
        actions = np.asarray(inference.actions, np.float32)
        check_reply(actions, spec=self._shared.needs.action)
        server = {"infer_ms": (time.perf_counter() - start) * 1e3, "batch": inference.batch}
        if self._prev_total_ms is not None:
            server["prev_total_ms"] = self._prev_total_ms
        reply: Message = {"actions": self._averager.average(actions, step=step), "server_timing": server}
        reply["policy_timing"] = {"infer_ms": inference.infer_ms}
        return reply if said is None else reply | {STEP_KEY: said}

    def _send(self, message: Message, start: float) -> None:
        data = pack(message)
        self._free.release()  # before the client can have the reply and send its next request
        self._connection.send(data)
        self._prev_total_ms = (time.perf_counter() - start) * 1e3
        self._shared.metrics.answered("ok", seconds=self._prev_total_ms / 1e3)
        self._shared.under_way.change(-1)

    def _refuse_soon(self, error: Exception, start: float) -> None:
        """Refuses from a thread of its own: closing waits for the thread that reads."""
        self._refused = True
        threading.Thread(target=self._refuse, args=(error, time.perf_counter() - start), daemon=True).start()

    def _refuse(self, error: Exception, seconds: float) -> None:
        self._shared.under_way.change(-1)
        if isinstance(error, ConnectionClosed):  # it left before its reply
            return
        text = explain(error, peer=self._connection.peer, metrics=self._shared.metrics, seconds=seconds)
        code = POLICY_VIOLATION if isinstance(error, RefusedForPace) else INTERNAL_ERROR
        try:
            self._connection.send(text)
            self._connection.close(code, text.encode()[:120].decode(errors="ignore"))
        except ConnectionClosed as closed:
            log.info("client %s left: %s", self._connection.peer, closed)


class RequestSteps:
    """At which control step of its episode each request was made: what the client says, else counted.

    Args:
        every: control steps between two requests that do not say their step.
    """

    def __init__(self, *, every: int) -> None:
        self._every, self._last = every, -every

    def reset(self) -> None:
        """A new episode: the next request is its first."""
        self._last = -self._every

    def next(self, said: int | None) -> int:
        """The step of the next request; `said` by the client, or None."""
        self._last = self._last + self._every if said is None else said
        return self._last


class Averager:
    """A client's overlapping chunks, averaged where they overlap; as they are when `decay` is None.

    Args:
        decay: see `OverlappingChunks`.
    """

    def __init__(self, *, decay: float | None) -> None:
        self._chunks = None if decay is None else OverlappingChunks(decay=decay)
        self._start = 0  # of the last chunk

    def reset(self) -> None:
        """A new episode: nothing of the last one is averaged in."""
        if self._chunks is not None:
            self._chunks.clear()

    def average(self, actions: Array, *, step: int) -> Array:
        """The chunk (C,A) that begins at `step`, averaged with the earlier ones that cover its steps."""
        if self._chunks is None:
            return actions
        if step < self._start:  # the client's count began anew, and so did its episode
            self._chunks.clear()
        self._start = step
        self._chunks.add(actions, step=step)
        averaged = [self._chunks.at(step + i) for i in range(len(actions))]
        return np.stack([action for action in averaged if action is not None])
