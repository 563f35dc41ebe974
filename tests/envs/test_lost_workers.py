"""No episode is lost: workers and the main process are killed for real, and the records are those of a quiet run."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from vst_vla.envs import rollout as rollout_module
from vst_vla.envs import worker as worker_module
from vst_vla.envs.record import EpisodeRecord
from vst_vla.envs.rollout import rollout
from vst_vla.envs.rollout_settings import RolloutSettings
from vst_vla.policies.baselines import RandomPolicy
from vst_vla.vla.contracts import Array, Observation

pytestmark = pytest.mark.sim
SETTINGS = RolloutSettings(
    suite="libero_object", task_ids=(0,), init_states=(0, 1, 2), image_size=32, execute=4, max_steps=12, video="off"
)
MAIN = """
import sys
from pathlib import Path
from test_lost_workers import SETTINGS, Slow
from vst_vla.envs.rollout import rollout

rollout(Slow(), settings=SETTINGS, out=Path(sys.argv[1]), progress=False)
"""


class Slow(RandomPolicy):
    """Leaves time to be killed in."""

    def infer(self, observation: Observation) -> dict[str, Array]:
        time.sleep(0.3)
        return super().infer(observation)


class Interfering(RandomPolicy):
    """Does something at some of its calls, counted from 1."""

    def __init__(self, deeds: dict[int, Callable[[], None]]) -> None:
        super().__init__()
        self._deeds, self.calls = deeds, 0

    def infer(self, observation: Observation) -> dict[str, Array]:
        self.calls += 1
        self._deeds.get(self.calls, lambda: None)()
        return super().infer(observation)


def simulators(pid: int | None = None) -> list[psutil.Process]:
    """The worker processes of a process."""
    return [child for child in psutil.Process(pid).children(recursive=True) if is_simulator(child)]


def is_simulator(process: psutil.Process) -> bool:
    """False also of one that ends while it is looked at."""
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and any("spawn_main" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def kill_a_simulator() -> None:
    os.kill(simulators()[0].pid, signal.SIGKILL)


def kill_all_simulators() -> None:
    for process in simulators():
        process.kill()


def lose_the_server() -> None:
    raise ConnectionError("no reply from ws://127.0.0.1:1 (closed)")


def run(policy: RandomPolicy, **changes: Any) -> list[EpisodeRecord]:
    return rollout(policy, settings=replace(SETTINGS, **changes), progress=False)


def timeless(records: list[EpisodeRecord]) -> list[EpisodeRecord]:
    return [replace(record, wall_s=0.0) for record in records]


@pytest.fixture(scope="module")
def quiet() -> list[EpisodeRecord]:
    return timeless(run(RandomPolicy(), num_envs=1))


def test_killed_workers_are_replaced_and_their_episodes_repeated(quiet: list[EpisodeRecord]) -> None:
    policy = Interfering({2: kill_all_simulators, 6: kill_a_simulator})  # one alone may have no episode just then
    assert timeless(run(policy)) == quiet
    assert policy.calls > 9, "three episodes of three chunks, and what was lost"
    assert simulators() == []


@contextlib.contextmanager
def killed_as_they_start(count: float) -> Iterator[set[int]]:
    """Meanwhile so many simulators are killed, one by one, before they can answer; the set fills with their pids."""
    others = {process.pid for process in simulators()}  # that another test has left to end
    killed: set[int] = set()
    over = threading.Event()

    def watch() -> None:
        while len(killed) < count and not over.wait(0.01):
            for process in simulators(os.getpid()):
                if process.pid not in killed | others:
                    killed.add(process.pid)
                    process.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_workers_killed_as_they_start_are_started_again(quiet: list[EpisodeRecord]) -> None:
    with killed_as_they_start(worker_module.STARTS - 1) as killed:
        assert timeless(run(RandomPolicy(), num_envs=1)) == quiet
    assert len(killed) == worker_module.STARTS - 1


def test_workers_that_never_start_end_the_run_in_one_line() -> None:
    line = r"died 3 times as it started: is memory short\? num_envs=1 takes least"
    with killed_as_they_start(math.inf), pytest.raises(ChildProcessError, match=line):
        run(RandomPolicy(), num_envs=1)
    assert simulators() == []


def test_a_killed_run_goes_on_and_leaves_no_worker(quiet: list[EpisodeRecord], tmp_path: Path) -> None:
    log = tmp_path / "run" / "records.jsonl"
    command = [sys.executable, "-c", MAIN, str(log.parent)]
    main = subprocess.Popen(command, cwd=Path(__file__).parent)
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n")):
        assert main.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = simulators(main.pid)
    main.kill()
    main.wait()
    before = log.read_text()
    assert workers
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    new: list[EpisodeRecord] = []
    records = rollout(Slow(), settings=SETTINGS, out=log.parent, on_episode=new.append, progress=False)
    assert timeless(records) == quiet
    assert len(new) == 3 - before.count("\n")
    assert log.read_text().startswith(before)


def test_an_episode_whose_server_is_lost_is_repeated_and_at_last_told(quiet: list[EpisodeRecord]) -> None:
    policy = Interfering(dict.fromkeys((1, 2, 3, 5), lose_the_server))
    records = timeless(run(policy, num_envs=1, init_states=(0, 1)))
    assert policy.calls == 3 + 2 + 3, "state 0 at its first look, three times; state 1 at its second; then its chunks"
    assert records[1] == quiet[1]
    assert (records[0].success, records[0].num_steps) == (False, 0)
    assert records[0].error == "no reply from ws://127.0.0.1:1 (closed), 3 times"


def test_a_worker_that_keeps_dying_becomes_a_record_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_module, "TRIES", 1)
    (record,) = run(Interfering({2: kill_a_simulator}), num_envs=1, init_states=(0,))
    assert record.error == "the simulator's process died (exit code -9), 1 times"
    assert (record.success, record.num_steps) == (False, 4)
