"""Closed-loop evaluation: a policy acts in several LIBERO episodes at once and every episode leaves a record.

    settings = RolloutSettings(suite="libero_object", task_ids=(0,), init_states=tuple(range(20)))
    records = rollout(policy, settings=settings, out=Path("outputs/rollout"))

Letters: N workers, C actions in a chunk. All running episodes are inferred in one batch; a worker whose episode ended
starts its next one while the others go on. Records do not depend on the number of workers as long as the policy's
`infer_batch` gives what `infer` gives.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv
from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.libraries import require_libraries
from vst_vla.envs.record import RECORDS_FILE, EpisodeRecord, RecordFile, RunIdentity, count_successes
from vst_vla.envs.suites import Task, get_task, init_state
from vst_vla.envs.vector import Episode, WorkerSettings, make_vector_env, set_episodes
from vst_vla.envs.video import remove_partial
from vst_vla.vla.contracts import (
    LIBERO_ACTION,
    LIBERO_STATE,
    TASK_KEY,
    Array,
    Observation,
    Policy,
    require_same_spec,
    unknown_name,
)

VIDEO_MODES = ("off", "chunk", "full")
VIDEOS_FOLDER = "videos"
SMALLEST = {"num_envs": 1, "execute": 1, "image_size": 16, "video_size": 16, "num_videos": 0}


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """Which episodes to run and how.

    Args:
        suite: a LIBERO suite.
        task_ids: numbers of its tasks.
        init_states: numbers of the official initial states, the same for every task.
        num_envs: worker processes N.
        image_size: pixels of the policy's pictures.
        execute: actions executed of every chunk before the policy is asked again.
        seed: seed of the episodes.
        max_steps: control steps before an episode is cut, None for the suite's horizon (it is never longer).
        video: "off"; "chunk": the policy's own view, one frame a chunk, of every episode; "full": the same, but of the
            first `num_videos` episodes of each task every control step, which is drawn for it.
        num_videos: see `video`.
        video_size: pixels of a "full" video.
        policy: the policy's name in records.
        checkpoint: hash of its files in records, "" when it has none.
        render_device: GPU number for the renderer, -1 for the default.

    Raises:
        ValueError: for anything that names no task, initial state or mode, before a worker starts.
    """

    suite: str
    task_ids: tuple[int, ...]
    init_states: tuple[int, ...]
    num_envs: int = 2
    image_size: int = 256
    execute: int = 8
    seed: int = 0
    max_steps: int | None = None
    video: str = "full"
    num_videos: int = 4
    video_size: int = 256
    policy: str = "policy"
    checkpoint: str = ""
    render_device: int = -1

    def __post_init__(self) -> None:
        if self.video not in VIDEO_MODES:
            raise unknown_name("video mode", self.video, VIDEO_MODES)
        for name, least in SMALLEST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps is {self.max_steps}, expected at least 1, or none for the suite's horizon")
        for name in ("task_ids", "init_states"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: name at least one")
        for task in self.tasks:
            for index in self.init_states:
                init_state(task, index=index)

    @property
    def tasks(self) -> list[Task]:
        """The tasks in the order given, each once."""
        return [get_task(self.suite, task_id=task_id) for task_id in dict.fromkeys(self.task_ids)]

    @property
    def horizon(self) -> int:
        """Control steps before an episode is cut."""
        full: int = self.tasks[0].horizon
        return full if self.max_steps is None else min(self.max_steps, full)

    def identity(self, *, assets: Assets) -> RunIdentity:
        """What records of this run have in common."""
        return RunIdentity(
            suite=self.suite,
            policy=self.policy,
            checkpoint=self.checkpoint,
            assets=assets.kind,
            seed=self.seed,
            image_size=self.image_size,
            execute=self.execute,
            max_steps=self.horizon,
        )


def rollout(
    policy: Policy,
    *,
    settings: RolloutSettings,
    out: Path | None = None,
    assets: Assets | None = None,
    on_episode: Callable[[EpisodeRecord], None] | None = None,
    progress: bool = True,
) -> list[EpisodeRecord]:
    """Runs every (task, initial state) and returns their records, by task and initial state.

    Args:
        policy: what acts; `reset` is called before each task. One that reads the state says so with `state_spec`.
        settings: which episodes and how.
        out: folder for `records.jsonl`, one line as each episode ends, and `videos/`. Episodes that it already holds
            are not run again, so a run goes on after a kill. None keeps nothing on disk.
        assets: resolved assets; looked for when not given.
        on_episode: called with each new record.
        progress: show a progress bar with an estimate.

    Raises:
        ValueError: when the policy's conventions are not LIBERO's, its chunk is too short or out of range, or `out`
            holds episodes of another configuration.
    """
    _require_libero(policy)
    found = assets or find_assets(settings.suite)
    require_libraries()
    run = settings.identity(assets=found)
    file = RecordFile(out / RECORDS_FILE) if out else None
    wanted = {(task.task_id, index) for task in settings.tasks for index in settings.init_states}
    done = {r.key: r for r in (file.resume(run) if file else []) if r.key in wanted}
    with tqdm(total=len(wanted), initial=len(done), unit="episode", desc=settings.policy, disable=not progress) as bar:

        def finish(record: EpisodeRecord) -> None:
            if file:
                file.append(record)
            done[record.key] = record
            bar.set_postfix_str(f"success {count_successes(done.values())}/{len(done)}")
            bar.update()
            if on_episode:
                on_episode(record)

        for task in settings.tasks:
            todo = [index for index in dict.fromkeys(settings.init_states) if (task.task_id, index) not in done]
            if todo:
                _TaskRun(policy, task, run, settings, found, out, finish).execute(todo)
    return sorted(done.values(), key=lambda record: record.key)


def _require_libero(policy: Policy) -> None:
    """The policy's conventions against the environment's; a silent mismatch is the commonest cause of 0 %."""
    require_same_spec(policy.action_spec, LIBERO_ACTION, ours_name="the policy", theirs_name="LIBERO")
    state_spec = getattr(policy, "state_spec", None)
    if state_spec is not None:
        require_same_spec(state_spec, LIBERO_STATE, ours_name="the policy", theirs_name="LIBERO")


@dataclass
class _TaskRun:
    """The episodes of one task, in workers that live as long as it takes."""

    policy: Policy
    task: Task
    run: RunIdentity
    settings: RolloutSettings
    assets: Assets
    out: Path | None
    finish: Callable[[EpisodeRecord], None]

    def execute(self, todo: Iterable[int]) -> None:
        queue = deque(self._episode(index) for index in todo)
        worker = WorkerSettings(
            suite=self.run.suite,
            task_id=self.task.task_id,
            image_size=self.run.image_size,
            execute=self.run.execute,
            max_steps=self.run.max_steps,
            assets=self.assets,
            render_device=self.settings.render_device,
        )
        envs = make_vector_env(worker, num_envs=min(self.settings.num_envs, len(queue)))
        try:
            self.policy.reset()
            self._loop(envs, queue)
        except BaseException:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*Calling `close` while waiting.*")
                envs.close(terminate=True)
            raise
        finally:
            envs.close()
            if self.out:
                remove_partial(self.out / VIDEOS_FOLDER)

    def _episode(self, index: int) -> Episode:
        """What a worker is told: filmed smoothly for the first states asked for, whether run now or before."""
        settings = self.settings
        if self.out is None or settings.video == "off":
            return Episode(init_state=index, seed=settings.seed)
        smooth = settings.video == "full" and index in settings.init_states[: settings.num_videos]
        film = self.out / VIDEOS_FOLDER / f"task{self.task.task_id:02d}_state{index:03d}.mp4"
        size = settings.video_size if smooth else None
        return Episode(init_state=index, seed=settings.seed, film=film, film_size=size)

    def _loop(self, envs: AsyncVectorEnv[Any, Any], queue: deque[Episode]) -> None:
        """Every round: infer for the workers in an episode, step all, and deal new episodes to those that ended."""
        running: list[Episode | None] = [queue.popleft() for _ in range(envs.num_envs)]
        since = [time.perf_counter()] * envs.num_envs
        set_episodes(envs, running)
        observations, _ = envs.reset()
        acting = list(range(envs.num_envs))
        while any(running):
            actions = self._infer(observations, acting, num_envs=envs.num_envs)
            observations, _, success, cut, infos = envs.step(actions)
            ended = [i for i in acting if success[i] or cut[i]]
            acting = [i for i, episode in enumerate(running) if episode and i not in ended]  # with those just reset
            for i in ended:
                episode, running[i] = running[i], queue.popleft() if queue else None
                assert episode is not None
                self.finish(self._record(episode, infos, i, wall_s=time.perf_counter() - since[i]))
                since[i] = time.perf_counter()
            if ended:
                set_episodes(envs, running)

    def _infer(self, observations: dict[str, Array], acting: list[int], *, num_envs: int) -> Array:
        """The actions (N, C, 7) of all workers: the policy's for those in an episode, zeros for the others."""
        actions = np.zeros((num_envs, self.run.execute, LIBERO_ACTION.dim), np.float32)
        batch: list[Observation] = [
            {key: values[i] for key, values in observations.items()} | {TASK_KEY: self.task.language} for i in acting
        ]
        replies = self.policy.infer_batch(batch) if batch else []
        for i, reply in zip(acting, replies, strict=True):
            actions[i] = _leading_actions(reply["actions"], execute=self.run.execute)
        return actions

    def _record(self, episode: Episode, infos: dict[str, Any], i: int, *, wall_s: float) -> EpisodeRecord:
        error = str(infos["error"][i] or "") if "error" in infos else ""
        filmed = self.out is not None and episode.film is not None and not error
        return EpisodeRecord(
            run=self.run,
            task_id=self.task.task_id,
            task=self.task.language,
            init_state=episode.init_state,
            success=bool(infos["success"][i]),
            num_steps=int(infos["num_steps"][i]),
            wall_s=round(wall_s, 3),
            error=error,
            video=f"{VIDEOS_FOLDER}/{episode.film.name}" if filmed and episode.film else "",
        )


def _leading_actions(chunk: Array, *, execute: int) -> Array:
    """The first `execute` actions of a chunk, checked. Raises ValueError when it is shorter, or out of the spec."""
    LIBERO_ACTION.check(chunk)
    if len(chunk) < execute:
        raise ValueError(
            f"the policy returned {len(chunk)} actions, expected at least {execute}: set execute={len(chunk)}"
        )
    return chunk[:execute]
