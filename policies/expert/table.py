"""How often the scripted expert succeeds, by task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.perturb.perturbation import Perturbation
from vst_vla.policies.demo_episode import disturb
from vst_vla.policies.expert.expert import Expert


def success_table(
    *,
    suite: str,
    task_ids: Sequence[int],
    init_states: Iterable[int],
    noise: float,
    seed: int,
    vary: Sequence[str] = (),
) -> dict[str, Any]:
    """Runs one episode from each initial state of each task, without drawing.

    Args:
        suite: LIBERO suite.
        task_ids: its tasks.
        init_states: official initial states of each task.
        noise: factor on the noise of demonstrations, 0 for the expert alone.
        seed: of the noise and of what is varied.
        vary: axes of `envs/perturb` along which every episode's scene is changed, at full strength.

    Returns:
        Settings, kind of assets, `success_rate` over all episodes, and a row a task.
    """
    assets, starts = find_assets(suite), list(init_states)
    rows = [
        _row(suite, task, assets, starts, noise=noise, seed=seed, vary=tuple(vary))
        for task in tqdm(task_ids, unit="task", desc="expert")
    ]
    return {
        "suite": suite,
        "assets": assets.kind,
        "init_states": starts,
        "noise": noise,
        "seed": seed,
        "vary": list(vary),
        "num_episodes": len(rows) * len(starts),
        "success_rate": float(np.mean([row["success_rate"] for row in rows])),
        "tasks": rows,
    }


def _row(
    suite: str,
    task_id: int,
    assets: Assets,
    starts: Sequence[int],
    *,
    noise: float,
    seed: int,
    vary: tuple[str, ...],
) -> dict[str, Any]:
    env = LiberoEnv(suite, task_id=task_id, assets=assets, images=False)
    try:
        results = [_episode(env, start, seed=(seed, task_id, start), noise=noise, vary=vary) for start in starts]
    finally:
        env.close()
    successes, steps, attempts = (np.array(column) for column in zip(*results, strict=True))
    return {
        "task_id": task_id,
        "task": env.task.language,
        "successes": int(successes.sum()),
        "success_rate": float(successes.mean()),
        "mean_steps": float(steps.mean()),
        "regrasps": int((attempts - 1).sum()),
        "failed_init_states": [start for start, success in zip(starts, successes, strict=True) if not success],
    }


def _episode(
    env: LiberoEnv, start: int, *, seed: tuple[int, ...], noise: float, vary: tuple[str, ...]
) -> tuple[bool, int, int]:
    """Success, control steps, grasps begun."""
    rng = np.random.default_rng(seed)
    perturbation = Perturbation(axes=vary, seed=seed) if vary else None
    env.reset(options={"init_state": start, "perturb": perturbation})
    expert = Expert(env.simulator)
    success = truncated = False
    info: dict[str, Any] = {}
    while not (success or truncated):
        action = disturb(expert.act(env.simulator), scale=noise * expert.noise_scale, rng=rng)
        _, _, success, truncated, info = env.step(action)
    return success, int(info["num_steps"]), expert.attempts
