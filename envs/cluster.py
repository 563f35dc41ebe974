"""Calls on a Ray cluster (https://docs.ray.io): results come back through Ray, so no disk needs to be shared.

Every machine of the cluster needs this package and LIBERO's assets. `ray.init()` finds the cluster by its own rules
(RAY_ADDRESS, or one that runs on this machine) and starts one of this machine's cores when there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from vst_vla.envs.threads import THREAD_VARIABLES

MAX_RETRIES = 3  # of a call whose worker or machine was lost


def run_on_cluster[Name, Result](
    function: Callable[..., Result], *, calls: Iterable[tuple[Name, tuple[Any, ...]]], num_workers: int, thing: str
) -> Generator[tuple[Name, Result]]:
    """Yields (name, function(*arguments)) of every (name, arguments), as they come; a task of one core each.

    Args:
        function: of an importable module.
        calls: taken one by one, as workers become free.
        num_workers: calls at a time.
        thing: what a call makes, for messages.

    Raises:
        ImportError: Ray is not installed.
        OSError: a call's workers were lost again and again, or the cluster is gone.
        Exception: what the function raised.
    """
    ray, waiting = _import_ray(), iter(calls)
    with _cluster(ray):
        remote = ray.remote(function).options(
            num_cpus=1, max_retries=MAX_RETRIES, runtime_env={"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
        )
        running: dict[Any, Name] = {}
        while True:
            while len(running) < num_workers and (call := next(waiting, None)):
                running[remote.remote(*call[1])] = call[0]
            if not running:
                return
            (reference,), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(reference), _result(ray, reference, thing=thing)


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


def _result(ray: Any, reference: Any, *, thing: str) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:
        raise OSError(
            f"Ray lost {thing} {MAX_RETRIES + 1} times ({type(error).__name__}): see to the cluster and run the same "
            "command again, it goes on"
        ) from error
