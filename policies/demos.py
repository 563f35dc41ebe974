"""Demonstrations by the scripted expert as a LeRobot v3 data set.

An episode's content depends on (suite, task, episode number, seed, noise, image size, variation) only. Initial states
0-19 are never used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vst_vla.envs.assets import find_assets
from vst_vla.envs.suites import get_task, num_tasks
from vst_vla.policies.collect import DemosReport, collect
from vst_vla.policies.demo_episode import EpisodeJob
from vst_vla.policies.plan import Plan


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
    vary: Sequence[str] = (),
    vary_strength: float = 1.0,
    geometry: bool = False,
    video: bool = False,
    overwrite: bool = False,
    skip_failed: bool = False,
    launcher: str = "local",
) -> DemosReport:
    """Records `num_episodes` successful demonstrations of each task.

    Args:
        out: the data set's folder.
        suite: LIBERO suite.
        task_ids: numbers of tasks in the suite; all of them when None.
        num_episodes: for each task.
        image_size: height and width of both pictures in pixels.
        num_workers: processes that simulate and draw; with Ray, over the whole cluster.
        seed: of the noise.
        noise: factor on the noise that disturbs the executed (not the recorded) translations; 0 for none.
        vary: axes of `envs/perturb` along which every episode's scene is changed.
        vary_strength: how far, in (0, 1].
        geometry: also store labels of what the cells of the pictures show (`envs/cells.py`).
        video: store videos instead of PNG pictures.
        overwrite: replace a data set of other settings at `out`, finished or not.
        skip_failed: write the data set without the tasks at which the expert fails.
        launcher: "local" or "ray".

    Raises:
        FailedTasks: the expert failed at a task, after all other tasks were finished; a ValueError.
        ValueError: for an argument out of range, an `out` of other settings, or one in use by another process.
        OSError: the disk is full; finished episodes stay and the same call goes on from there.
    """
    tasks = list(range(num_tasks(suite)) if task_ids is None else task_ids)
    _check_tasks(suite, tasks)
    if isinstance(vary, str):
        raise ValueError(f"vary '{vary}' is no list: give vary=[{vary}]")
    check_least(num_episodes=(num_episodes, 1), num_workers=(num_workers, 1), image_size=(image_size, 16))
    check_least(noise=(noise, 0))
    assets = find_assets(suite)
    settings: dict[str, Any] = {"suite": suite, "task_ids": tasks, "num_episodes": num_episodes}
    settings |= {"image_size": image_size, "seed": seed, "noise": float(noise), "video": video, "assets": assets.kind}
    if vary:
        settings |= {"vary": sorted(vary), "vary_strength": float(vary_strength)}
    if geometry:
        settings |= {"geometry": True}
    jobs = [
        EpisodeJob(
            task_id=task,
            number=number,
            seed=seed,
            noise=float(noise),
            image_size=image_size,
            vary=tuple(sorted(vary)),
            vary_strength=float(vary_strength),
            geometry=geometry,
        )
        for task in tasks
        for number in range(num_episodes)
    ]
    plan = Plan(suite=suite, jobs=jobs, settings=settings, assets=assets, video=video, drop_failures=False)
    return collect(
        plan, out=out, num_workers=num_workers, launcher=launcher, overwrite=overwrite, skip_failed=skip_failed
    )


def check_least(**values: tuple[float, float]) -> None:
    """Raises ValueError for the first of name -> (value, smallest allowed) that is below it, or NaN."""
    for name, (value, least) in values.items():
        if not value >= least:
            raise ValueError(f"{name} {value} is too small: give at least {least}")


def _check_tasks(suite: str, tasks: Sequence[int]) -> None:
    if not tasks or len(set(tasks)) != len(tasks):
        raise ValueError(f"task_ids {list(tasks)} must name at least one task, each once, such as [0, 3]")
    for task in tasks:
        get_task(suite, task_id=task)
