"""How many demonstrations a minute: drawing what is recorded and in view, against drawing everything at every step."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import CAMERAS
from vst_vla.envs.suites import NUM_EVAL_STATES
from vst_vla.envs.threads import one_thread_each
from vst_vla.policies.demo_episode import EpisodeJob, disturb, record
from vst_vla.policies.expert.expert import Expert
from vst_vla.policies.recording import encode_png, is_no_op
from vst_vla.policies.workers import follow_parent
from vst_vla.vla.contracts import IMAGE_KEYS, Array

Seconds = tuple[float, float]
"""Wall time and processor time."""


def measure_demos(
    *, suite: str, task_id: int, image_size: int, noise: float, num_workers: int, rounds: int
) -> dict[str, Any]:
    """Every worker makes the same demonstrations both ways in turn, so that other load hits both alike.

    Args:
        suite: LIBERO suite.
        task_id: number of the task.
        image_size: height and width of both pictures in pixels.
        noise: factor on the expert's noise.
        num_workers: processes, all at work at the same time.
        rounds: demonstrations of each worker in each way.

    Returns:
        Settings; for each way demonstrations a minute of all workers together and processor seconds a demonstration;
        the ratio of the two rates, by wall time and by processor time.
    """
    assets = find_assets(suite)
    jobs = [
        [
            EpisodeJob(task_id=task_id, number=w + r * num_workers, seed=0, noise=noise, image_size=image_size)
            for r in range(rounds)
        ]
        for w in range(num_workers)
    ]
    spawn = multiprocessing.get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(num_workers, mp_context=spawn, initializer=follow_parent) as pool:
        times = list(tqdm(pool.map(partial(_time_jobs, suite, assets), jobs), total=num_workers, unit="worker"))
    every, recorded = np.concatenate(times).transpose(1, 2, 0)  # (wall or processor, episodes)
    return {
        "suite": suite,
        "task_id": task_id,
        "image_size": image_size,
        "noise": noise,
        "assets": assets.kind,
        "num_workers": num_workers,
        "demonstrations_each_way": num_workers * rounds,
        "every_step": _row(every, num_workers),
        "recorded_only": _row(recorded, num_workers),
        "ratio_wall": round(float(every[0].sum() / recorded[0].sum()), 2),
        "ratio_processor": round(float(every[1].sum() / recorded[1].sum()), 2),
    }


def _row(seconds: Array, num_workers: int) -> dict[str, float]:
    wall, processor = seconds.mean(axis=1)
    return {"per_minute": round(60 * num_workers / wall, 2), "processor_s": round(processor, 2)}


def _time_jobs(suite: str, assets: Assets, jobs: list[EpisodeJob]) -> Array:
    """Runs in a worker: (episodes, 2 ways, 2) seconds. Before the clock runs, the scene is built and has drawn."""
    env = LiberoEnv(suite, task_id=jobs[0].task_id, assets=assets, image_size=jobs[0].image_size, images=False)
    env.reset(options={"init_state": NUM_EVAL_STATES})
    env.render()
    times = [(_timed(draw_every_step, env, job), _timed(record, env, job)) for job in jobs]
    env.close()
    return np.array(times)


def _timed(run: Callable[[LiberoEnv, EpisodeJob], Any], env: LiberoEnv, job: EpisodeJob) -> Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    run(env, job)
    return time.perf_counter() - wall, time.process_time() - processor


def draw_every_step(env: LiberoEnv, job: EpisodeJob) -> dict[str, list[bytes]]:
    """The first candidate of `record`, with both cameras drawn at every step as robosuite does; PNGs of its frames."""
    rng = np.random.default_rng([job.seed, job.task_id, job.number, 0])
    env.reset(options={"init_state": NUM_EVAL_STATES + job.number})
    pictures = _draw(env, size=job.image_size)
    expert = Expert(env.simulator)
    images: dict[str, list[bytes]] = {key: [] for key in IMAGE_KEYS}
    previous: Array | None = None
    success = truncated = False
    while not (success or truncated):
        action = expert.act(env.simulator)
        if not is_no_op(action, previous=previous):
            previous = action
            for key, picture in zip(IMAGE_KEYS, pictures, strict=True):
                images[key].append(encode_png(picture))
        executed = disturb(action, scale=job.noise * expert.noise_scale, rng=rng)
        _, _, success, truncated, _ = env.step(executed)
        pictures = _draw(env, size=job.image_size)
    return images


def _draw(env: LiberoEnv, *, size: int) -> list[Array]:
    sim = env.simulator.sim
    return [np.ascontiguousarray(sim.render(size, size, camera_name=camera)[::-1, ::-1]) for camera in CAMERAS]
