"""The processes that simulate: each holds one scene, one thread, and none of the memory of what started it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.cluster import run_on_cluster
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.threads import one_thread_each
from vst_vla.policies.recording import Failure, Job, Outcome

Numbered = tuple[int, Job]


class Launcher(Protocol):
    """Runs jobs somewhere, several at a time."""

    def __call__(
        self, jobs: Iterator[Numbered], *, suite: str, assets: Assets, num_workers: int
    ) -> Generator[tuple[int, Job, Outcome]]:
        """Yields outcomes as they come; takes the next job only when a worker is about to be free.

        Args:
            jobs: an index with each; what is yielded carries it.
            suite: LIBERO suite of all jobs.
            assets: this machine's assets.
            num_workers: episodes that run at a time.

        Raises:
            OSError: the workers cannot go on; what was yielded is safe.
        """
        ...


def run_local(
    jobs: Iterator[Numbered], *, suite: str, assets: Assets, num_workers: int
) -> Generator[tuple[int, Job, Outcome]]:
    """A launcher: processes on this machine."""
    spawn = multiprocessing.get_context("spawn")
    running: dict[Future[Outcome], Numbered] = {}
    with one_thread_each(), ProcessPoolExecutor(num_workers, mp_context=spawn, initializer=follow_parent) as pool:
        try:
            while True:
                for index, job in _up_to(num_workers + 1 - len(running), jobs):
                    running[pool.submit(run_job, job, suite, assets)] = index, job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield *running.pop(future), future.result()
        except BrokenProcessPool as error:
            raise OSError("a worker was killed (out of memory?): run the same command again, it goes on") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_on_ray(
    jobs: Iterator[Numbered], *, suite: str, assets: Assets, num_workers: int
) -> Generator[tuple[int, Job, Outcome]]:
    """A launcher: tasks on a Ray cluster, see `run_on_cluster`. An episode whose worker is lost is run again.

    Raises:
        ImportError: Ray is not installed.
        ValueError: a machine has other assets.
        OSError: an episode's workers were lost again and again, or the cluster is gone.
    """
    calls = (((index, job), (job, suite, assets.kind)) for index, job in jobs)
    for numbered, outcome in run_on_cluster(
        run_job_elsewhere, calls=calls, num_workers=num_workers, thing="an episode"
    ):
        yield *numbered, outcome


def _up_to(count: int, jobs: Iterator[Numbered]) -> Iterator[Numbered]:
    """One more than there are workers waits, so that none is idle while a result is stored."""
    for _ in range(count):
        job = next(jobs, None)
        if job is None:
            return
        yield job


class _Scene:
    """A worker process's environment: that of the last task it was asked for."""

    env: LiberoEnv | None = None

    @classmethod
    def of(cls, suite: str, task_id: int, assets: Assets) -> LiberoEnv:
        if cls.env is None or (cls.env.task.suite, cls.env.task.task_id) != (suite, task_id):
            if cls.env is not None:
                cls.env.close()
            cls.env = LiberoEnv(suite, task_id=task_id, assets=assets, images=False)
        return cls.env


def run_job(job: Job, suite: str, assets: Assets) -> Outcome:
    """Runs in a worker. What the task's scene or goal makes impossible is a failure like any other, with its reason."""
    try:
        return job.run(_Scene.of(suite, job.task_id, assets))
    except ValueError as error:
        return Failure(task_id=job.task_id, tries=1, reason=str(error))


def run_job_elsewhere(job: Job, suite: str, kind: str) -> Outcome:
    """`run_job` on another machine, with the assets of the same kind that it has itself.

    Raises:
        ValueError: its assets are of another kind.
    """
    assets = find_assets(suite)
    if assets.kind != kind:
        raise ValueError(
            f"{os.uname().nodename} has {assets.kind} assets, this run began with {kind} ones: give all machines "
            "the same"
        )
    return run_job(job, suite, assets)


def follow_parent() -> None:
    """Runs once in each worker process: it ends with its parent, even one that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
