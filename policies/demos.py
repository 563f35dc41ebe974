"""Demonstrations by the scripted expert as a LeRobot v3 dataset: several workers, resumable after any kill.

An episode's content depends on (suite, task, episode number, seed, noise, image size) only. Finished episodes wait in
`OUT.partial`; the data set appears at `OUT` when it is complete. Initial states 0-19 are never used.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.suites import CONTROL_HZ, get_task, num_tasks
from vst_vla.envs.threads import one_thread_each
from vst_vla.policies.demo_episode import EpisodeJob, Recording, record
from vst_vla.policies.staging import Staging, first_difference
from vst_vla.vla.contracts import ACTION_KEY, LIBERO_ACTION, LIBERO_STATE, STATE_KEY
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset

RECORD = "vst_vla.json"
"""Name of the file in `meta/` that says how the data set was made."""
ROBOT_TYPE = "panda"


@dataclass(frozen=True, kw_only=True)
class DemosReport:
    """What `make_demos` did."""

    folder: Path
    num_episodes: int
    num_frames: int
    expert_success_rate: float
    assets: str
    wall_s: float
    reused: bool  # the data set was complete already


def make_demos(
    *,
    out: str | Path,
    suite: str = "libero_object",
    task_ids: Sequence[int] | None = None,
    num_episodes: int = 30,
    image_size: int = 256,
    num_workers: int = 2,
    seed: int = 0,
    noise: float = 1.0,
    video: bool = False,
    overwrite: bool = False,
) -> DemosReport:
    """Records `num_episodes` successful demonstrations of each task.

    Args:
        out: the data set's folder.
        suite: LIBERO suite.
        task_ids: numbers of tasks in the suite; all of them when None.
        num_episodes: for each task.
        image_size: height and width of both pictures in pixels.
        num_workers: processes that simulate and draw.
        seed: of the noise.
        noise: factor on the noise that disturbs the executed (not the recorded) translations; 0 for none.
        video: store videos instead of PNG pictures.
        overwrite: replace a data set of other settings at `out`, finished or not.

    Raises:
        ValueError: for an argument out of range, an `out` of other settings, or one in use by another process.
        OSError: the disk is full; finished episodes stay and the same call goes on from there.
    """
    start = time.perf_counter()
    tasks = list(range(num_tasks(suite)) if task_ids is None else task_ids)
    _check(suite, tasks, num_episodes, image_size, num_workers, noise)
    assets = find_assets(suite)
    settings = {"suite": suite, "task_ids": tasks, "num_episodes": num_episodes, "image_size": image_size}
    settings |= {"seed": seed, "noise": float(noise), "video": video, "assets": assets.kind}
    folder = Path(out).expanduser()
    difference = first_difference(settings, _settings_of(folder)) if folder.exists() else None
    if folder.exists() and not difference:
        return _report(folder, start, reused=True)
    if difference and not overwrite:
        raise ValueError(f"'{folder}' exists with {difference}: choose another out=, or replace it with overwrite=true")
    jobs = [
        EpisodeJob(task_id=task, number=number, seed=seed, noise=float(noise), image_size=image_size)
        for task in tasks
        for number in range(num_episodes)
    ]
    staging = Staging(folder.with_name(folder.name + ".partial"))
    with staging.open(settings, restart=overwrite), _full_disk_explained(staging):
        _record_missing(staging, jobs, suite=suite, assets=assets, num_workers=num_workers)
        _assemble(staging, jobs, folder, settings, overwrite=overwrite)
        staging.remove()
    return _report(folder, start, reused=False)


def read_record(folder: Path) -> dict[str, Any]:
    """How a data set of ours was made: settings, specs and episodes. Raises ValueError for a folder that is none."""
    path = folder / "meta" / RECORD
    if not path.is_file():
        raise ValueError(f"'{folder}' is not a data set made by `vst-vla demos`: it has no meta/{RECORD}")
    return dict(json.loads(path.read_text()))


def _check(
    suite: str, tasks: Sequence[int], num_episodes: int, image_size: int, num_workers: int, noise: float
) -> None:
    if not tasks or len(set(tasks)) != len(tasks):
        raise ValueError(f"task_ids {list(tasks)} must name at least one task, each once, such as [0, 3]")
    for task in tasks:
        get_task(suite, task_id=task)
    for name, value, least in (
        ("num_episodes", num_episodes, 1),
        ("num_workers", num_workers, 1),
        ("image_size", image_size, 16),
        ("noise", noise, 0),
    ):
        if not value >= least:
            raise ValueError(f"{name} {value} is too small: give at least {least}")


def _settings_of(folder: Path) -> dict[str, Any]:
    """Those of a finished data set; a folder of anything else is never touched."""
    try:
        return dict(read_record(folder)["settings"])
    except ValueError as error:
        raise ValueError(f"{error}; choose another out=") from error


def _report(folder: Path, start: float, *, reused: bool) -> DemosReport:
    made = read_record(folder)
    return DemosReport(
        folder=folder,
        num_episodes=len(made["episodes"]),
        num_frames=sum(episode["frames"] for episode in made["episodes"]),
        expert_success_rate=made["expert_success_rate"],
        assets=made["assets"],
        wall_s=time.perf_counter() - start,
        reused=reused,
    )


@contextmanager
def _full_disk_explained(staging: Staging) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        done = len(list(staging.folder.glob("episode-*.npz")))
        raise OSError(
            f"the disk is full: {done} finished episodes are safe in '{staging.folder}'; free some space and run the "
            "same command again"
        ) from error


def _record_missing(
    staging: Staging, jobs: Sequence[EpisodeJob], *, suite: str, assets: Assets, num_workers: int
) -> None:
    """Runs the jobs that are not staged yet; the first failure stops it."""
    missing = [(index, job) for index, job in enumerate(jobs) if not staging.has(index)]
    if not missing:
        return
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="episode", desc="demonstrations")
    with bar, _workers(min(num_workers, len(missing)), suite, assets) as pool:
        futures = [pool.submit(_work, staging.folder, index, job) for index, job in missing]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BrokenProcessPool as error:
            raise OSError("a worker was killed (out of memory?): run the same command again, it goes on") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _workers(count: int, suite: str, assets: Assets) -> Iterator[Executor]:
    """Processes that hold one simulator each, with one thread each and none of this process's memory."""
    spawn = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        ProcessPoolExecutor(count, mp_context=spawn, initializer=_start, initargs=(suite, assets)) as pool,
    ):
        yield pool


class _Worker:
    """A worker process's environment: that of the last task it was asked for."""

    suite: str
    assets: Assets
    env: LiberoEnv | None = None

    @classmethod
    def env_of(cls, task_id: int) -> LiberoEnv:
        if cls.env is None or cls.env.task.task_id != task_id:
            if cls.env is not None:
                cls.env.close()
            cls.env = LiberoEnv(cls.suite, task_id=task_id, assets=cls.assets, images=False)
        return cls.env


def _start(suite: str, assets: Assets) -> None:
    """Runs once in each worker. A worker ends with its parent, even one that was killed."""
    _Worker.suite, _Worker.assets = suite, assets
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _work(folder: Path, index: int, job: EpisodeJob) -> None:
    Staging(folder).put(index, record(_Worker.env_of(job.task_id), job))


def _assemble(
    staging: Staging, jobs: Sequence[EpisodeJob], folder: Path, settings: dict[str, Any], *, overwrite: bool
) -> None:
    episodes: list[dict[str, Any]] = []
    fresh = staging.folder / "dataset"
    shutil.rmtree(fresh, ignore_errors=True)
    write_dataset(
        fresh,
        _episodes(staging, len(jobs), episodes),
        fps=CONTROL_HZ,
        robot_type=ROBOT_TYPE,
        names={STATE_KEY: LIBERO_STATE.names, ACTION_KEY: LIBERO_ACTION.names},
        video=bool(settings["video"]),
    )
    made = {
        "settings": settings,
        "suite": settings["suite"],
        "tasks": {str(t): get_task(settings["suite"], task_id=t).language for t in settings["task_ids"]},
        "assets": settings["assets"],
        "seed": settings["seed"],
        "state_spec": LIBERO_STATE.to_dict(),
        "action_spec": LIBERO_ACTION.to_dict(),
        "expert_success_rate": len(episodes) / sum(episode["tries"] for episode in episodes),
        "episodes": episodes,
    }
    (fresh / "meta" / RECORD).write_text(json.dumps(made, indent=1))
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    fresh.replace(folder)


def _episodes(staging: Staging, count: int, described: list[dict[str, Any]]) -> Iterator[Episode]:
    """The staged episodes in order; `described` gets a line about each as it passes."""
    for index in tqdm(range(count), unit="episode", desc="writing the data set", leave=False):
        recording = staging.get(index)
        described.append(_describe(recording))
        yield Episode(
            task=recording.task,
            vectors={STATE_KEY: recording.states, ACTION_KEY: recording.actions},
            images=recording.images,
        )


def _describe(recording: Recording) -> dict[str, Any]:
    kept = ("task_id", "init_state", "steps", "tries")
    line = {field.name: getattr(recording, field.name) for field in dataclasses.fields(recording) if field.name in kept}
    return {**line, "frames": len(recording.actions)}
