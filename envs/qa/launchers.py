"""Where shards are made: processes of this machine, or tasks on a Ray cluster (https://docs.ray.io).

A job turns a shard into the bytes of its file; they come back to the process that asked, which alone writes, so no
disk needs to be shared.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import Protocol

from vst_vla.envs.cluster import run_on_cluster
from vst_vla.envs.qa.plan import Shard
from vst_vla.envs.threads import one_thread_each

Job = Callable[[Shard], bytes]


class Launcher(Protocol):
    """Runs jobs somewhere, several at a time."""

    def __call__(self, job: Job, *, shards: Sequence[Shard], num_workers: int) -> Iterator[tuple[Shard, bytes]]:
        """Yields shards with their files' bytes, as they come.

        Raises:
            ValueError: what the job raised.
            OSError: the workers cannot go on; what was yielded is safe.
        """
        ...


def run_local(job: Job, *, shards: Sequence[Shard], num_workers: int) -> Iterator[tuple[Shard, bytes]]:
    """A launcher: spawned processes with one thread each. Each takes a contiguous run, so that it builds few scenes."""
    lanes = min(num_workers, len(shards))
    with ExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        workers = [stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for _ in range(lanes)]
        with one_thread_each():
            futures: dict[Future[bytes], Shard] = {
                workers[place * lanes // len(shards)].submit(job, shard): shard for place, shard in enumerate(shards)
            }
        try:
            for future in as_completed(list(futures)):
                yield futures.pop(future), future.result()
        except BrokenProcessPool as error:
            raise OSError("a worker was killed (out of memory?): run the same command again, it goes on") from error
        finally:
            for worker in workers:
                worker.shutdown(wait=False, cancel_futures=True)


def run_on_ray(job: Job, *, shards: Sequence[Shard], num_workers: int) -> Iterator[tuple[Shard, bytes]]:
    """A launcher: tasks on a Ray cluster, see `run_on_cluster`; a shard whose worker is lost is made again.

    Raises:
        ImportError: Ray is not installed.
        ValueError: what the job raised.
        OSError: a shard's workers were lost again and again, or the cluster is gone.
    """
    calls = ((shard, (job, shard)) for shard in shards)
    yield from run_on_cluster(_call, calls=calls, num_workers=num_workers, thing="a shard")


LAUNCHERS: dict[str, Launcher] = {"local": run_local, "ray": run_on_ray}


def _call(job: Job, shard: Shard) -> bytes:
    return job(shard)
