"""Where shards are made: processes of this machine, or tasks on a Ray cluster (https://docs.ray.io).

A job turns a shard into the bytes of its file; they come back to the process that asked, which alone writes, so no
disk needs to be shared. Every machine of a cluster needs this package and LIBERO's assets.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from vst_vla.envs.qa.plan import Shard
from vst_vla.envs.threads import THREAD_VARIABLES, one_thread_each

Job = Callable[[Shard], bytes]

_RETRIES = 3  # of a shard whose worker or machine was lost


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
    """A launcher: Ray tasks of one core each; a shard whose worker is lost is made again.

    Raises:
        ImportError: Ray is not installed.
        ValueError: what the job raised.
        OSError: a shard's workers were lost again and again, or the cluster is gone.
    """
    ray = _import_ray()
    waiting = iter(shards)
    with _cluster(ray):
        remote = ray.remote(_call).options(
            num_cpus=1, max_retries=_RETRIES, runtime_env={"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
        )
        running: dict[Any, Shard] = {}
        while True:
            while len(running) < num_workers and (shard := next(waiting, None)):
                running[remote.remote(job, shard)] = shard
            if not running:
                return
            (reference,), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(reference), _result(ray, reference)


LAUNCHERS: dict[str, Launcher] = {"local": run_local, "ray": run_on_ray}


def _call(job: Job, shard: Shard) -> bytes:
    return job(shard)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError("launcher=ray needs Ray: run `pip install 'ray>=2.50'`, or leave launcher=local") from error
    return ray


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Joins a cluster for as long as it takes, or uses the one that this process has joined already."""
    joined = ray.is_initialized()
    if not joined:
        ray.init(include_dashboard=False, logging_level="warning", log_to_driver=False)
    try:
        yield
    finally:
        if not joined:
            ray.shutdown()


def _result(ray: Any, reference: Any) -> bytes:
    try:
        content: bytes = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:
        raise OSError(
            f"Ray lost a shard {_RETRIES + 1} times ({type(error).__name__}): see to the cluster and run the same "
            "command again, it goes on"
        ) from error
    return content
