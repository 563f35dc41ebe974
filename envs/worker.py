"""A simulator process as seen from outside: it is told what to do, waited for, and replaced when it is lost.

Each is a gymnasium AsyncVectorEnv of one environment (spawned, pictures in shared memory): processes that go on without
each other, one of which may die without taking the others along.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from vst_vla.envs.threads import one_thread_each
from vst_vla.envs.vector import ChunkEnv, Episode, WorkerSettings
from vst_vla.vla.contracts import Array

STUCK_S = 600.0
"""A worker that takes longer than this over one call is taken for lost."""
STARTS = 3
"""So many processes in a row may die as they start."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What a worker says after an episode's start or a chunk."""

    observation: dict[str, Array]
    info: dict[str, Any]
    ended: bool  # the episode is over, or could not begin


class WorkerLost(RuntimeError):
    """The process is gone, or hangs; whatever it was doing is to be done again."""


class Worker:
    """One simulator process.

    Args:
        settings: what runs in it.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._call = ""  # the present one: reset, step, or lost when it could not be made; empty while it waits for one
        self._since = 0.0  # when it was made
        self._envs = _start(settings)

    @property
    def busy(self) -> bool:
        """Whether a report is due."""
        return bool(self._call)

    @property
    def stuck(self) -> bool:
        """Whether the report is long overdue."""
        return self.busy and time.monotonic() - self._since > STUCK_S

    @property
    def connection(self) -> Any:
        """What becomes readable with the report, or with the process's end."""
        return self._envs.parent_pipes[0]

    @property
    def pid(self) -> int:
        """Of the process."""
        pid = self._envs.processes[0].pid
        assert pid is not None
        return pid

    def start_episode(self, episode: Episode) -> None:
        """Has it begin an episode, whatever it is in the middle of."""
        self._make("reset", lambda: self._envs.reset_async(options={"episode": episode}))

    def start_chunk(self, actions: Array) -> None:
        """Has it execute actions (C, 7)."""
        self._make("step", lambda: self._envs.step_async(actions[None]))

    def _make(self, call: str, send: Callable[[], None]) -> None:
        self._call, self._since = call, time.monotonic()
        try:
            send()
        except OSError:  # it died since its last report; the next one will say so
            self._call = "lost"

    def report(self) -> Report:
        """What came of the last call; waits for it.

        Raises:
            WorkerLost: the process is gone, or stuck.
            Exception: what the environment raised, of the same kind, for what is not the simulator's fault.
        """
        call, self._call = self._call, ""
        try:
            return self._receive(call, timeout=max(0.0, self._since + STUCK_S - time.monotonic()))
        except (EOFError, ConnectionError) as error:
            process = self._envs.processes[0]
            process.join(timeout=10)
            raise WorkerLost(f"the simulator's process died (exit code {process.exitcode})") from error
        except multiprocessing.TimeoutError as error:
            raise WorkerLost(f"the simulator did not answer within {STUCK_S:g} s") from error

    def _receive(self, call: str, *, timeout: float) -> Report:
        if call == "lost":
            raise EOFError
        over = False
        if call == "reset":
            observations, infos = self._envs.reset_wait(timeout=timeout)
        else:
            observations, _, success, cut, infos = self._envs.step_wait(timeout=timeout)
            over = bool(success[0] or cut[0])
        info = {key: values[0] for key, values in infos.items() if not key.startswith("_")}
        observation = {key: values[0] for key, values in observations.items()}
        return Report(observation=observation, info=info, ended=over or bool(info.get("error")))

    def replace(self) -> None:
        """Another process in the place of this one."""
        self.kill()
        with one_thread_each():
            self._envs, self._call = _start(self._settings), ""

    def kill(self) -> None:
        """Ends the process at once, in whatever state it is."""
        for process in self._envs.processes:
            process.kill()
            process.join()
        self._envs.closed = True

    def close(self) -> None:
        """Ends the process in good order when it waits for a call, at once otherwise."""
        if self.busy:
            self.kill()
        else:
            self._envs.close()


def start_workers(settings: WorkerSettings, *, count: int) -> list[Worker]:
    """That many, started side by side."""
    if count < 1:
        raise ValueError(f"num_envs is {count}, expected at least 1 worker")
    with one_thread_each(), ThreadPoolExecutor(count) as pool:
        return list(pool.map(Worker, [settings] * count))


def wait_for_reports(workers: Sequence[Worker]) -> list[int]:
    """Numbers of the busy workers whose report is there, or long overdue; waits for at least one."""
    busy = [i for i, worker in enumerate(workers) if worker.busy]
    while True:
        ready = multiprocessing.connection.wait([workers[i].connection for i in busy], timeout=5.0)
        found = [i for i in busy if workers[i].connection in ready or workers[i].stuck]
        if found:
            return found


def _start(settings: WorkerSettings) -> AsyncVectorEnv[Any, Any]:
    """A process, up and answering; one that dies as it starts gets another in its place.

    Raises:
        ChildProcessError: it died `STARTS` times.
    """
    for _ in range(STARTS):
        with contextlib.suppress(EOFError, ConnectionError):
            return _launch(settings)
    raise ChildProcessError(
        f"the simulator's process died {STARTS} times as it started: is memory short? num_envs=1 takes least"
    )


def _launch(settings: WorkerSettings) -> AsyncVectorEnv[Any, Any]:
    """Autoreset is off: an episode begins when one is asked for."""
    return AsyncVectorEnv(
        [functools.partial(_make_env, settings)],
        shared_memory=True,
        context="spawn",
        autoreset_mode=AutoresetMode.DISABLED,
    )


def _make_env(settings: WorkerSettings) -> ChunkEnv:
    if multiprocessing.parent_process() is not None:  # in a worker: Ctrl-C is the main process's business
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return ChunkEnv(settings)
