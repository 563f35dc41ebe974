"""Running many episodes: tasks that fail, progress in a log, launchers, a lost worker."""

from __future__ import annotations

import builtins
import os
import signal
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np
import psutil
import pytest

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.policies import collect as collecting
from vst_vla.policies import demo_episode
from vst_vla.policies.collect import FailedTasks, collect
from vst_vla.policies.demo_dataset import read_record
from vst_vla.policies.demo_episode import EpisodeJob
from vst_vla.policies.demos import make_demos
from vst_vla.policies.plan import Plan
from vst_vla.policies.progress import EpisodeProgress
from vst_vla.policies.recording import Failure, Outcome, Recording, encode_png
from vst_vla.policies.staging import Staging
from vst_vla.policies.workers import Numbered, run_job
from vst_vla.vla.contracts import IMAGE_KEYS

OPTIONS: dict[str, Any] = {"num_workers": 1, "launcher": "here", "overwrite": False}


@dataclass(frozen=True, kw_only=True)
class Told:
    """An episode that ends as it was told to, without a simulator."""

    task_id: int
    succeeds: bool

    def run(self, env: LiberoEnv) -> Outcome:
        if not self.succeeds:
            return Failure(task_id=self.task_id, tries=7, reason="it was told to fail")
        picture = encode_png(np.full((16, 16, 3), self.task_id, np.uint8))
        return Recording(
            task=f"task {self.task_id}",
            task_id=self.task_id,
            init_state=20,
            tries=1,
            steps=3,
            states=np.zeros((3, 8), np.float32),
            actions=np.zeros((3, 7), np.float32),
            images=dict.fromkeys(IMAGE_KEYS, [picture] * 3),
        )


def run_here(
    jobs: Iterator[Numbered], *, suite: str, assets: Assets, num_workers: int
) -> Generator[tuple[int, Any, Outcome]]:
    """A launcher without processes."""
    for index, job in jobs:
        ran.append(index)
        yield index, job, run_job(job, suite, assets)


ran: list[int] = []


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(collecting.LAUNCHERS, "here", run_here)
    ran.clear()


def plan(jobs: list[Any], *, drop_failures: bool = False) -> Plan:
    assets = find_assets("libero_object")
    settings = {"suite": "libero_object", "jobs": len(jobs)}
    return Plan(
        suite="libero_object", jobs=jobs, settings=settings, assets=assets, video=False, drop_failures=drop_failures
    )


def told(*succeed: tuple[int, bool]) -> list[Told]:
    return [Told(task_id=task, succeeds=succeeds) for task, succeeds in succeed]


def test_a_failing_task_stops_itself_only_and_is_named_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, jobs = tmp_path / "out", told((0, True), (1, True), (1, False), (1, True), (2, True))
    message = (
        r"1 of 3 tasks failed: task 1 'pick up the cream cheese and place it in the basket': 1 of 8 episodes "
        r"succeeded; it was told to fail\. 3 finished episodes are safe.*skip_failed=true"
    )
    with pytest.raises(FailedTasks, match=message):
        collect(plan(jobs), out=out, skip_failed=False, **OPTIONS)
    assert ran == [0, 1, 2, 4]
    assert "task 1 given up: it was told to fail" in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(FailedTasks):
        collect(plan(jobs), out=out, skip_failed=False, **OPTIONS)
    assert ran[4:] == [2]  # tried again, the finished ones are not
    report = collect(plan(jobs), out=out, skip_failed=True, **OPTIONS)
    assert ran[5:] == []
    assert (report.num_episodes, report.failed_tasks, report.success_rate) == (2, (1,), 1.0)
    assert list(read_record(out)["tasks"]) == ["0", "2"]
    assert not out.with_name("out.partial").exists()


def test_a_data_set_of_nothing_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(FailedTasks, match="1 of 1 tasks failed"):
        collect(plan(told((0, False))), out=tmp_path / "out", skip_failed=True, **OPTIONS)


def test_dropped_failures_are_not_run_again(tmp_path: Path) -> None:
    jobs = told((0, True), (0, False), (0, True))
    with pytest.raises(ValueError, match="unknown launcher 'rya': did you mean 'ray'"):
        collect(plan(jobs), out=tmp_path / "out", skip_failed=False, **{**OPTIONS, "launcher": "rya"})
    staging = Staging(tmp_path / "out.partial")
    with staging.open(plan(jobs).settings, restart=False):
        staging.put_failure(1, Failure(task_id=0, tries=1, reason="known"))
    report = collect(plan(jobs, drop_failures=True), out=tmp_path / "out", skip_failed=False, **OPTIONS)
    assert ran == [0, 2]
    assert (report.num_episodes, report.success_rate) == (2, pytest.approx(2 / 3))


@pytest.mark.sim
def test_the_expert_s_failure_is_filmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_episode, "MAX_ATTEMPTS", 1)
    jobs = [EpisodeJob(task_id=0, number=0, seed=0, noise=30.0, image_size=32)]
    with pytest.raises(
        FailedTasks, match="0 of 1 episodes succeeded; the expert failed 1 times in a row with noise 30"
    ):
        collect(plan(jobs), out=tmp_path / "out", skip_failed=False, **OPTIONS)
    with av.open(str(tmp_path / "out.partial" / "failures" / "task00-episode-000000.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) >= 60
    assert frames[0].shape == (256, 256, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 100


def test_a_log_file_gets_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = EpisodeProgress({0: 2, 3: 4}, done={0: 1}, names={0: "lift the can", 3: "open the drawer"})
    for task in (0, 3, 3):
        clock[0] += 60
        progress.add(task, failed=task == 3)
    progress.give_up(3, "it slips")
    progress.close()
    assert capsys.readouterr().err.splitlines() == [
        "task 0 2/2: lift the can",
        "3/6 episodes, 1.0 a minute, 3 min left, now task 3 1/4, 1 failed",
        "4/6 episodes, 1.0 a minute, 2 min left, now task 3 2/4, 2 failed",
        "task 3 given up: it slips: open the drawer",
        "4/4 episodes, 1.0 a minute",
    ]


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return plain(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="launcher=ray needs Ray: run `pip install 'ray"):
        make_demos(out=tmp_path / "out", task_ids=[0], num_episodes=1, image_size=16, launcher="ray")


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.usefixtures("ray_cluster")
def test_ray_makes_the_same_data_set_though_a_worker_dies(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"task_ids": [0], "num_episodes": 2, "image_size": 32, "num_workers": 2}
    killed: list[int] = []
    killer = Thread(target=lambda: killed.append(kill_a_worker()))
    killer.start()
    make_demos(out=tmp_path / "ray", launcher="ray", **settings)
    killer.join()
    make_demos(out=tmp_path / "local", **settings)
    assert killed[0] > 0
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def kill_a_worker() -> int:
    """Waits for one of Ray's workers that has worked at an episode for a while and kills it; returns its number."""
    for _ in range(6000):
        for process in psutil.process_iter(["name", "cmdline"]):
            title = " ".join(process.info["cmdline"] or [])
            if title.startswith("ray::run_job_elsewhere") and process.cpu_times().user > 5:
                os.kill(process.pid, signal.SIGKILL)
                return process.pid
        time.sleep(0.1)
    return 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
