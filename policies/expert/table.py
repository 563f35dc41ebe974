"""How often the scripted expert succeeds, by task, over one suite or several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.perturb.perturbation import Perturbation
from vst_vla.envs.suites import get_task, num_tasks
from vst_vla.envs.threads import one_thread_each
from vst_vla.policies.demo_episode import disturb
from vst_vla.policies.expert.expert import Expert
from vst_vla.policies.workers import follow_parent


@dataclass(frozen=True, kw_only=True)
class _TaskJob:
    """All episodes of one task."""

    suite: str
    task_id: int
    assets: Assets
    starts: tuple[int, ...]
    noise: float
    seed: int
    vary: tuple[str, ...]


def success_table(
    *,
    suites: Sequence[str],
    task_ids: Sequence[int] | None = None,
    init_states: Iterable[int],
    noise: float = 1.0,
    seed: int = 0,
    vary: Sequence[str] = (),
    num_workers: int = 1,
) -> dict[str, Any]:
    """Runs one episode from each initial state of each task, without drawing.

    Args:
        suites: LIBERO suites.
        task_ids: tasks of each of them; all when None.
        init_states: official initial states of each task.
        noise: factor on the noise of demonstrations, 0 for the expert alone.
        seed: of the noise and of what is varied.
        vary: axes of `envs/perturb` along which every episode's scene is changed, at full strength.
        num_workers: processes that simulate, a task each; the table does not depend on it.

    Returns:
        Settings, kind of assets, `success_rate` over all episodes and by suite, and a row a task. Steps are control
        steps of all episodes, the failed ones included.

    Raises:
        ValueError: for an unknown suite, a task number out of range, or no episode at all.
    """
    starts = tuple(init_states)
    tasks = [(suite, task) for suite in suites for task in (range(num_tasks(suite)) if task_ids is None else task_ids)]
    if not tasks or not starts or num_workers < 1:
        raise ValueError(
            f"{len(tasks)} tasks, {len(starts)} initial states and {num_workers} workers make no table: give at least 1"
        )
    for suite, task in tasks:
        get_task(suite, task_id=task)
    assets = {suite: find_assets(suite) for suite in suites}
    jobs = [
        _TaskJob(suite=s, task_id=t, assets=assets[s], starts=starts, noise=noise, seed=seed, vary=tuple(vary))
        for s, t in tasks
    ]
    rows = _run(jobs, num_workers)
    return {
        "suite": suites[0] if len(suites) == 1 else list(suites),
        "assets": assets[suites[0]].kind,
        "init_states": list(starts),
        "noise": noise,
        "seed": seed,
        "vary": list(vary),
        "num_episodes": len(rows) * len(starts),
        "success_rate": _mean(rows, "success_rate"),
        "success_rate_by_suite": {s: _mean([r for r in rows if r["suite"] == s], "success_rate") for s in suites},
        "tasks": rows,
    }


def _run(jobs: Sequence[_TaskJob], num_workers: int) -> list[dict[str, Any]]:
    """The jobs' rows, in the jobs' order."""
    spawn = multiprocessing.get_context("spawn")
    rows: dict[int, dict[str, Any]] = {}
    with (
        one_thread_each(),
        ProcessPoolExecutor(min(num_workers, len(jobs)), mp_context=spawn, initializer=follow_parent) as pool,
        tqdm(total=len(jobs), unit="task", desc="expert") as bar,
    ):
        futures = {pool.submit(_row, job): index for index, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                row = rows[futures[future]] = future.result()
                tqdm.write(f"{row['suite']} {row['task_id']}: {row['successes']}/{len(jobs[0].starts)}  {row['task']}")
                bar.update()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [rows[index] for index in range(len(jobs))]


def _row(job: _TaskJob) -> dict[str, Any]:
    """Runs in a worker."""
    env = LiberoEnv(job.suite, task_id=job.task_id, assets=job.assets, images=False)
    try:
        results = [_episode(env, job, start) for start in job.starts]
    finally:
        env.close()
    successes, steps, retries = (np.array(column) for column in zip(*results, strict=True))
    return {
        "suite": job.suite,
        "task_id": job.task_id,
        "task": env.task.language,
        "successes": int(successes.sum()),
        "success_rate": float(successes.mean()),
        "mean_steps": float(steps.mean()),
        "median_steps": float(np.median(steps)),
        "retries": int(retries.sum()),
        "failed_init_states": [s for s, success in zip(job.starts, successes, strict=True) if not success],
    }


def _episode(env: LiberoEnv, job: _TaskJob, start: int) -> tuple[bool, int, int]:
    """Success, control steps, tries after the first one of each step of the plan."""
    seed = (job.seed, job.task_id, start)
    rng = np.random.default_rng(seed)
    perturbation = Perturbation(axes=job.vary, seed=seed) if job.vary else None
    env.reset(options={"init_state": start, "perturb": perturbation})
    expert = Expert(env.simulator)
    success = truncated = False
    info: dict[str, Any] = {}
    while not (success or truncated):
        action = disturb(expert.act(env.simulator), scale=job.noise * expert.noise_scale, rng=rng)
        _, _, success, truncated, info = env.step(action)
    return success, int(info["num_steps"]), expert.retries


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return round(float(np.mean([row[key] for row in rows])), 4)
