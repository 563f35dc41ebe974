"""Many LIBERO episodes at once: worker processes that execute action chunks and draw only what is looked at.

Built on gymnasium's AsyncVectorEnv with spawned workers and shared memory. Letters: N workers, C actions in a chunk.
Workers import no torch and compute with one thread each.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from vst_vla.envs.assets import Assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.perturb.perturbation import Perturbation
from vst_vla.envs.simulator import CAMERAS
from vst_vla.envs.suites import CONTROL_HZ
from vst_vla.envs.threads import one_thread_each
from vst_vla.envs.video import VideoWriter
from vst_vla.vla.contracts import IMAGE_KEY, IMAGE_KEYS, LIBERO_ACTION, Array


class SimulatorBroke(RuntimeError):
    """The simulator raised in the middle of an episode."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """What a worker runs next.

    `perturb` changes the scene after it settled; `info["perturbation"]` says how, as JSON, since a vector environment
    takes dictionaries in infos apart.

    `film` is the video to write, None for none. With `film_size`, every control step is drawn for it, that many pixels
    wide; without, it is made of the pictures that the policy sees, one a chunk, which costs nothing.
    """

    init_state: int
    seed: int
    perturb: Perturbation | None = None
    film: Path | None = None
    film_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How every worker of a vector environment is built."""

    suite: str
    task_id: int
    image_size: int
    execute: int
    max_steps: int
    assets: Assets
    render_device: int = -1


class ChunkEnv(gymnasium.Env[dict[str, Array], Array]):
    """LIBERO with chunks of C actions as its actions, for one worker of a vector environment.

    Observations are LiberoEnv's, drawn at the end of a chunk, and not at all once the episode is over, when nobody acts
    on them. A reset starts `episode`, which the main process sets beforehand; with `episode` None the worker is parked:
    it repeats its last observation until there is one.

    A simulator that breaks in the middle of an episode ends that episode, with the reason in `info["error"]`, and is
    built anew for the next one.

    Args:
        settings: what to build.
    """

    metadata = LiberoEnv.metadata
    render_mode = None

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.episode: Episode | None = None
        self._env = LiberoEnv(
            settings.suite,
            task_id=settings.task_id,
            image_size=settings.image_size,
            assets=settings.assets,
            render_device=settings.render_device,
            images=False,
        )
        picture = spaces.Box(0, 255, (settings.image_size, settings.image_size, 3), np.uint8)
        self.observation_space = spaces.Dict(
            dict.fromkeys(IMAGE_KEYS, picture) | dict(self._env.observation_space.items())
        )
        self.action_space = spaces.Box(
            LIBERO_ACTION.low, LIBERO_ACTION.high, (settings.execute, LIBERO_ACTION.dim), np.float32
        )
        self._last: dict[str, Array] = {}
        self._parked = True
        self._film: VideoWriter | None = None
        self._film_size: int | None = None
        self._num_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Starts `episode`; its own seed counts, not the argument. Parks when there is none."""
        super().reset(seed=seed)
        self._parked = self.episode is None
        if self.episode is None:
            return self._last or self._blank(), {}
        options = {"init_state": self.episode.init_state, "perturb": self.episode.perturb}
        observation, info = self._env.reset(seed=self.episode.seed, options=options)
        if "perturbation" in info:
            info["perturbation"] = json.dumps(info["perturbation"])
        self._film = self._start_film(self.episode)
        self._last = self._draw(observation)
        self._shoot()
        return self._last, info

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Executes the chunk (C, 7) until the episode ends. Raises ValueError for a bad action."""
        if self._parked:
            return self._last or self._blank(), 0.0, False, False, {}
        LIBERO_ACTION.check(action)
        try:
            observation, reward, success, cut, info = self._execute(action)
        except SimulatorBroke as error:
            return self._give_up(str(error))
        if success or cut:
            self._end_film()
        else:
            self._last = self._draw(observation)
            self._shoot()
        return self._last, reward, success, cut, info

    def close(self) -> None:
        """Frees the scene and drops an unfinished video."""
        if self._film is not None:
            self._film.discard()
        self._env.close()

    def _execute(self, chunk: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """One `step_chunk`, or one for every action when all control steps are filmed."""
        smooth = self._film is not None and self._film_size is not None
        pieces = list(chunk[:, None]) if smooth else [chunk]
        for piece in pieces:
            left = self.settings.max_steps - self._num_steps
            try:
                observation, reward, success, cut, info = self._env.step_chunk(piece[:left])
            except Exception as error:  # whatever MuJoCo or robosuite raise when a scene explodes: goes into the record
                raise SimulatorBroke(" ".join(f"{type(error).__name__}: {error}".split())) from error
            self._num_steps = info["num_steps"]
            cut = not success and (cut or self._num_steps >= self.settings.max_steps)
            if smooth:
                self._shoot_smooth()
            if success or cut:
                break
        return observation, reward, success, cut, info

    def _draw(self, observation: dict[str, Array]) -> dict[str, Array]:
        size = self.settings.image_size
        pictures = {
            key: self._env.simulator.render(camera, size=size) for key, camera in zip(IMAGE_KEYS, CAMERAS, strict=True)
        }
        return pictures | observation

    def _blank(self) -> dict[str, Array]:
        """The observation of a worker that never had an episode: zeros."""
        return {key: np.zeros(space.shape or (), space.dtype) for key, space in self.observation_space.items()}

    def _start_film(self, episode: Episode) -> VideoWriter | None:
        self._num_steps = 0
        self._film_size = episode.film_size
        if episode.film is None:
            return None
        rate = 1 if episode.film_size is not None else self.settings.execute
        return VideoWriter(episode.film, fps=CONTROL_HZ / rate)

    def _shoot(self) -> None:
        """A frame of a chunk-rate film: the policy's own picture."""
        if self._film is not None and self._film_size is None:
            self._film.add(self._last[IMAGE_KEY])

    def _shoot_smooth(self) -> None:
        assert self._film is not None
        assert self._film_size is not None
        self._film.add(self._env.simulator.render(CAMERAS[0], size=self._film_size))

    def _end_film(self) -> None:
        if self._film is None:
            return
        if self._film_size is None:  # show how it ended
            self._film.add(self._env.simulator.render(CAMERAS[0], size=self.settings.image_size))
        self._film.close()
        self._film = None

    def _give_up(self, reason: str) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        if self._film is not None:
            self._film.discard()
            self._film = None
        self._env.close()
        return self._last, 0.0, False, True, {"success": False, "num_steps": self._num_steps, "error": reason}


def make_vector_env(settings: WorkerSettings, *, num_envs: int) -> AsyncVectorEnv[Any, Any]:
    """N worker processes with one ChunkEnv each; tell them what to run with `set_episodes`.

    Autoreset is NEXT_STEP: the step after an episode's end ignores that worker's action and starts its next episode,
    while the other workers go on.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs is {num_envs}, expected at least 1 worker")
    with one_thread_each():
        return AsyncVectorEnv(
            [functools.partial(_make_env, settings)] * num_envs,
            shared_memory=True,
            context="spawn",
            autoreset_mode=AutoresetMode.NEXT_STEP,
        )


def set_episodes(envs: AsyncVectorEnv[Any, Any], episodes: Sequence[Episode | None]) -> None:
    """Tells every worker what its next reset starts; None parks it."""
    envs.set_attr("episode", list(episodes))


def _make_env(settings: WorkerSettings) -> ChunkEnv:
    if multiprocessing.parent_process() is not None:  # in a worker: Ctrl-C is the main process's business
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return ChunkEnv(settings)
