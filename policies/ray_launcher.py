"""Jobs on a Ray cluster (https://docs.ray.io): results come back through Ray, so no disk needs to be shared.

Every machine of the cluster needs this package and LIBERO's assets. `ray.init()` finds the cluster by its own rules
(RAY_ADDRESS, or one that runs on this machine) and starts one of this machine's cores when there is none.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from vst_vla.envs.assets import Assets
from vst_vla.envs.threads import THREAD_VARIABLES
from vst_vla.policies.recording import Job, Outcome
from vst_vla.policies.workers import Numbered, run_job_elsewhere

MAX_RETRIES = 3  # of an episode whose worker or machine was lost


def run_on_ray(
    jobs: Iterator[Numbered], *, suite: str, assets: Assets, num_workers: int
) -> Generator[tuple[int, Job, Outcome]]:
    """A launcher (`policies/workers.py`): Ray tasks of one core each. An episode whose worker is lost is run again.

    Raises:
        ImportError: Ray is not installed.
        ValueError: a machine has other assets.
        OSError: an episode's workers were lost again and again, or the cluster is gone.
    """
    ray = _import_ray()
    with _cluster(ray):
        remote = ray.remote(run_job_elsewhere).options(
            num_cpus=1, max_retries=MAX_RETRIES, runtime_env={"env_vars": dict.fromkeys(THREAD_VARIABLES, "1")}
        )
        running: dict[Any, Numbered] = {}
        while True:
            while len(running) < num_workers and (numbered := next(jobs, None)):
                running[remote.remote(numbered[1], suite, assets.kind)] = numbered
            if not running:
                return
            (reference,), _ = ray.wait(list(running), num_returns=1)
            yield *running.pop(reference), _result(ray, reference)


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


def _result(ray: Any, reference: Any) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:
        raise OSError(
            f"Ray lost an episode {MAX_RETRIES + 1} times ({type(error).__name__}): see to the cluster and run the "
            "same command again, it goes on"
        ) from error
    return outcome
