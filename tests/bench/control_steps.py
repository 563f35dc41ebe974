"""Control steps a second of closed-loop evaluation with a policy that takes no time: ours beside two others.

    python tests/bench/control_steps.py --out docs/results/control_steps.json

Every contender plays the same initial states of one task to the horizon (the arm never moves), at 256 pixels, two
cameras, drawn in software, chunks of 8 actions:

* `libero`: LIBERO's `OffScreenRenderEnv`, reset and stepped as LIBERO's own evaluation script does;
* `lerobot`: the `rollout` of `lerobot-eval`, without its videos, on LeRobot's own LIBERO environment;
* `vst_vla`: `vst_vla.envs.rollout.rollout`, what `vst-vla rollout` runs, without videos.

Each runs in a process of its own. An episode's time is that of its reset and all its steps; the first episode, which
builds the simulator, is left out. `workers` is the evaluator with more processes, whole time, their start included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vst_vla.envs.assets import find_assets
from vst_vla.envs.quiet import import_simulator, use_assets, write_libero_config
from vst_vla.envs.rollout import rollout
from vst_vla.envs.rollout_settings import RolloutSettings
from vst_vla.envs.suites import get_task
from vst_vla.policies.baselines import ZeroPolicy
from vst_vla.vla.contracts import STILL_ACTION
from vst_vla.vla.files import write_json

SIZE, CHUNK, SETTLE = 256, 8, 10
Episode = tuple[int, float, float]
"""Steps, seconds of all of it, seconds of its reset (NaN where it was not timed by itself)."""


def prepare(suite: str) -> None:
    """Points hf-libero at the assets that this machine has, without its question."""
    assets = find_assets(suite)
    write_libero_config(assets.path)
    import_simulator()
    use_assets(assets.path)


def libero_episodes(suite: str, task_id: int, episodes: int) -> Iterator[Episode]:
    """As LIBERO's own evaluation script steps a task."""
    prepare(suite)
    from lerobot.envs.libero import get_task_init_states
    from libero.libero import benchmark, get_libero_path
    from libero.libero.envs import OffScreenRenderEnv

    made = benchmark.get_benchmark_dict()[suite]()
    task = made.get_task(task_id)
    file = Path(get_libero_path("bddl_files")) / task.problem_folder / task.bddl_file
    env = OffScreenRenderEnv(bddl_file_name=str(file), camera_heights=SIZE, camera_widths=SIZE)
    env.seed(0)
    states = get_task_init_states(made, task_id)
    for index in range(episodes):
        start = time.perf_counter()
        env.reset()
        env.set_init_state(states[index])
        for _ in range(SETTLE):
            env.step(STILL_ACTION)
        ready = time.perf_counter()
        horizon = get_task(suite, task_id=task_id).horizon
        for _ in range(horizon):
            env.step(STILL_ACTION)
        yield horizon, time.perf_counter() - start, ready - start


def lerobot_episodes(suite: str, task_id: int, episodes: int) -> Iterator[Episode]:
    """The evaluation loop of LeRobot."""
    prepare(suite)
    import torch
    from lerobot.envs import make_env, make_env_pre_post_processors
    from lerobot.envs.configs import LiberoEnv
    from lerobot.scripts.lerobot_eval import rollout as lerobot_rollout

    class Still(torch.nn.Module):
        """No motion, a chunk of actions at a time in LeRobot's manner."""

        config = None

        def reset(self) -> None:
            """Forgets the chunk."""
            self.queue: list[torch.Tensor] = []

        def select_action(self, batch: dict[str, Any]) -> torch.Tensor:
            """The next action (1,7)."""
            self.queue = self.queue or list(torch.tensor(STILL_ACTION, dtype=torch.float32)[None].expand(CHUNK, 1, 7))
            return self.queue.pop(0)

    config = LiberoEnv(task=suite, task_ids=[task_id], observation_height=SIZE, observation_width=SIZE)
    env = make_env(config, n_envs=1)[suite][task_id]
    before, after = make_env_pre_post_processors(config, None)
    same: Callable[[Any], Any] = lambda value: value  # noqa: E731
    for seed in range(episodes):
        start = time.perf_counter()
        result = lerobot_rollout(env, Still(), before, after, same, same, seeds=[seed])
        yield result["action"].shape[1], time.perf_counter() - start, float("nan")


def own_episodes(suite: str, task_id: int, episodes: int) -> Iterator[Episode]:
    """The evaluator of this package with one worker."""
    for record in own_run(suite, task_id, episodes, workers=1):
        yield record.num_steps, record.wall_s, float("nan")


def own_run(suite: str, task_id: int, episodes: int, *, workers: int) -> list[Any]:
    """Records of the evaluator's episodes."""
    settings = RolloutSettings(
        suite=suite,
        task_ids=(task_id,),
        init_states=tuple(range(episodes)),
        num_envs=workers,
        image_size=SIZE,
        execute=CHUNK,
        max_steps=get_task(suite, task_id=task_id).horizon,
        video="off",
        policy="zero",
    )
    return rollout(ZeroPolicy(chunk=CHUNK), settings=settings, progress=False)


def own_resets(suite: str, task_id: int, episodes: int) -> Iterator[Episode]:
    """Resets of this package's environment, by themselves."""
    from vst_vla.envs.libero import LiberoEnv

    env = LiberoEnv(suite, task_id=task_id, image_size=SIZE)
    for index in range(episodes):
        start = time.perf_counter()
        env.reset(seed=0, options={"init_state": index})
        seconds = time.perf_counter() - start
        yield 0, seconds, seconds
    env.close()


CONTENDERS = {"libero": libero_episodes, "lerobot": lerobot_episodes, "vst_vla": own_episodes, "resets": own_resets}


def elsewhere(name: str, given: argparse.Namespace) -> list[Episode]:
    """A contender's episodes but the first, in a process of its own."""
    options = ["--suite", given.suite, "--task-id", str(given.task_id), "--episodes", str(given.episodes)]
    command = [sys.executable, __file__, "--only", name, *options]
    said = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
    return [tuple(episode) for episode in json.loads(said.splitlines()[-1])][1:]


def summary(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Medians over episodes."""
    found: dict[str, Any] = {}
    if any(steps for steps, _, _ in episodes):
        found["steps_per_s"] = round(statistics.median(steps / seconds for steps, seconds, _ in episodes), 1)
    resets = [reset for _, _, reset in episodes if not np.isnan(reset)]
    if resets:
        found["reset_s"] = round(statistics.median(resets), 3)
    return found


def scaling(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The evaluator with 1, 2 and 4 workers."""
    rows = []
    for workers in (1, 2, 4):
        start = time.perf_counter()
        records = own_run(given.suite, given.task_id, given.scaling, workers=workers)
        seconds = time.perf_counter() - start
        steps = sum(record.num_steps for record in records)
        rows.append({"workers": workers, "wall_s": round(seconds, 1), "steps_per_s": round(steps / seconds, 1)})
    return rows


def main() -> None:
    """Runs one contender, or all of them and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--task-id", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=4, help="of each contender; the first is left out")
    parser.add_argument("--scaling", type=int, default=24, help="episodes of each run with several workers")
    parser.add_argument("--only", choices=CONTENDERS)
    parser.add_argument("--out", type=Path, default=Path("docs/results/control_steps.json"))
    given = parser.parse_args()
    if given.only:
        print(json.dumps(list(CONTENDERS[given.only](given.suite, given.task_id, given.episodes))))
        return
    rows = {name: summary(elsewhere(name, given)) for name in CONTENDERS}
    ours = rows["vst_vla"]["steps_per_s"]
    record = {
        "command": "python tests/bench/control_steps.py",
        "cores": os.cpu_count(),
        "assets": find_assets(given.suite).kind,
        "load_1_min": round(os.getloadavg()[0], 2),
        "suite": given.suite,
        "task_id": given.task_id,
        "image_size": SIZE,
        "chunk": CHUNK,
        "contenders": rows,
        "times_libero": round(ours / rows["libero"]["steps_per_s"], 2),
        "times_lerobot": round(ours / rows["lerobot"]["steps_per_s"], 2),
        "workers": scaling(given),
    }
    write_json(given.out, record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
