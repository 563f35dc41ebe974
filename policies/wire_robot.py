"""A LIBERO environment as an arm in another process: it speaks websockets only and keeps its own 20 Hz clock.

One client at a time; every message is a msgpack map and gets one reply:

    {"reset": i}         an episode from initial state i           -> status
    {"action": (7,)}     executed in the next control period       -> status, after that period
    {"action": nil}      holds for one control period              -> status
    {"hold": true}       drops a command that waits for its period -> status
    {"observe": true}    pictures, state and prompt, openpi's keys -> status with pictures

With a clock, the world goes on whether or not a command is there: without one the arm holds, and the reply says how
often (`held`). Without a clock, every command is executed as it comes.
"""

from __future__ import annotations

import logging
import queue
import time
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import CAMERAS
from vst_vla.policies.wire import Message, pack, unpack
from vst_vla.vla.contracts import LIBERO_STATE, STATE_KEY, STILL_ACTION, Array

log = logging.getLogger(__name__)

HZ = 20.0
PICTURE_KEYS = ("observation/image", "observation/wrist_image")


@dataclass
class _Request:
    message: Message
    reply: queue.SimpleQueue[Message | str] = field(default_factory=queue.SimpleQueue)


class WireRobot:
    """The arm. Everything that touches the simulator runs in the thread that calls `run`.

    Args:
        suite: a LIBERO suite.
        task_id: number of the task in it.
        image_size: side of the pictures in pixels.
        speed: the clock's rate, 1 for 20 Hz, 0.5 for 10 Hz (for machines that cannot draw in time); None for no clock.
        images: draw pictures; without, `observe` gives black ones.

    Raises:
        ValueError: for a speed that is not positive, or an unknown suite or task.
    """

    def __init__(
        self, suite: str, *, task_id: int = 0, image_size: int = 256, speed: float | None = 1.0, images: bool = True
    ) -> None:
        if speed is not None and not speed > 0:
            raise ValueError(f"speed is {speed}, expected more than 0, or none for no clock")
        self._env = LiberoEnv(suite, task_id=task_id, image_size=image_size, images=False)
        self._image_size, self._images = image_size, images
        self._period = None if speed is None else 1 / (HZ * speed)
        self._inbox: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._waiting: _Request | None = None
        self._stopped = Event()
        self._due: float | None = None  # when the next control period ends; None while the clock stands
        self._state: Array = np.zeros(LIBERO_STATE.dim, np.float32)
        self._still: Array = np.array(STILL_ACTION)
        self._ticks = self._held = self._overruns = 0
        self._success = self._done = False

    def listen(self, *, host: str = "127.0.0.1", port: int = 0) -> int:
        """Opens the port and returns its number. Raises OSError when it is taken."""
        self._server: Server = serve(self._converse, host, port, compression=None, max_size=2**20)
        Thread(target=self._server.serve_forever, name="wire", daemon=True).start()
        return int(self._server.socket.getsockname()[1])

    def run(self) -> None:
        """Steps the world until `stop`."""
        while True:
            try:
                request = self._inbox.get(timeout=self._time_left())
            except queue.Empty:
                self._tick()
                continue
            if request is None:
                break
            self._accept(request)
        self._turn_away()
        self._server.shutdown()
        self._env.close()

    def stop(self) -> None:
        """Ends `run`. May be called from another thread."""
        self._inbox.put(None)

    def _turn_away(self) -> None:
        """Answers whoever waits, or its thread would keep the process alive."""
        self._stopped.set()
        self._release()
        while not self._inbox.empty():
            request = self._inbox.get()
            if request is not None:
                request.reply.put("the robot was stopped")

    def _converse(self, connection: ServerConnection) -> None:
        try:
            for data in connection:
                request = _Request(unpack(data if isinstance(data, bytes) else data.encode()))
                self._inbox.put(request)
                if self._stopped.is_set():  # nobody answers any more
                    return
                reply = request.reply.get()
                connection.send(reply if isinstance(reply, str) else pack(reply))
        except ConnectionClosed:
            log.info("the controller is gone; the arm holds")
        except ValueError as error:
            connection.send(str(error))

    def _time_left(self) -> float | None:
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def _accept(self, request: _Request) -> None:
        try:
            self._obey(request)
        except ValueError as error:
            request.reply.put(str(error))

    def _obey(self, request: _Request) -> None:
        message = request.message
        if "action" in message:
            self._command(request)
        elif "reset" in message:
            observation, _ = self._env.reset(options={"init_state": int(message["reset"])})
            self._begin(observation[STATE_KEY])
            request.reply.put(self._status())
        elif "observe" in message:
            request.reply.put(self._status() | self._pictures() | {"prompt": self._env.task.language})
        elif "hold" in message:
            self._release()
            request.reply.put(self._status())
        else:
            raise ValueError(f"unknown command {list(message)}, expected reset, action, hold or observe")

    def _command(self, request: _Request) -> None:
        self._release()
        self._waiting = request
        if self._period is None or self._done:
            self._tick()
        elif self._due is None:
            self._due = time.monotonic() + self._period

    def _release(self) -> None:
        """Answers a command that is not executed any more."""
        if self._waiting is not None:
            self._waiting.reply.put(self._status())
            self._waiting = None

    def _tick(self) -> None:
        """One control period: the waiting command, or a hold."""
        request, self._waiting = self._waiting, None
        try:
            if not self._done:
                self._step(None if request is None else request.message["action"])
        except ValueError as error:
            if request is not None:
                request.reply.put(str(error))
            return
        finally:
            self._set_clock()
        if request is not None:
            request.reply.put(self._status())

    def _step(self, action: Array | None) -> None:
        command = self._still if action is None else action
        observation, _, success, cut, _ = self._env.step(command)
        self._still = np.array([0, 0, 0, 0, 0, 0, np.sign(command[6]) or -1.0])
        self._state = observation[STATE_KEY]
        self._ticks += 1
        self._held += action is None
        self._success, self._done = success, success or cut

    def _set_clock(self) -> None:
        """The next period follows on the last one; after an overrun it starts now, since the world stood still."""
        if self._period is None or self._done:
            self._due = None
        elif self._due is not None:
            late = time.monotonic() - self._due
            self._overruns += late > self._period
            self._due = time.monotonic() + self._period if late > self._period else self._due + self._period

    def _begin(self, state: Array) -> None:
        """A new episode; the clock starts with its first command."""
        self._release()
        self._state, self._still = state, np.array(STILL_ACTION)
        self._ticks = self._held = self._overruns = 0
        self._success = self._done = False
        self._due = None

    def _pictures(self) -> Message:
        if not self._images:
            return dict.fromkeys(PICTURE_KEYS, np.zeros((self._image_size, self._image_size, 3), np.uint8))
        draw = self._env.simulator.render
        return {key: draw(camera, size=self._image_size) for key, camera in zip(PICTURE_KEYS, CAMERAS, strict=True)}

    def _status(self) -> dict[str, Any]:
        return {
            "observation/state": self._state,
            "tick": self._ticks,
            "held": self._held,
            "overruns": self._overruns,
            "success": self._success,
            "done": self._done,
        }
