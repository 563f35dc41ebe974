"""What a simulator process runs: LIBERO episodes of any task in chunks of actions, drawn only where they are looked at.

`ChunkEnv` is the environment inside the process, `worker.py` the process as seen from outside. Letters: C actions in a
chunk. Workers import no torch and compute with one thread each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces

from vst_vla.envs.assets import Assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.perturb.axis import CannotVary
from vst_vla.envs.perturb.perturbation import Perturbation
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.envs.suites import CONTROL_HZ
from vst_vla.envs.video import VideoWriter
from vst_vla.vla.contracts import IMAGE_KEY, IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, Array


class SimulatorBroke(RuntimeError):
    """The simulator raised in the middle of an episode."""


class Insider(Protocol):
    """Acts on the ground truth of the scene that it is in: no observation leaves the worker."""

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Episode:
    """What a worker runs next.

    `perturb` changes the scene after it settled; `info["perturbation"]` says how, as JSON, since a vector environment
    takes dictionaries in infos apart.

    `film` is the video to write, None for none. With `film_size`, every control step is drawn for it, that many pixels
    wide; without, it is made of the pictures that the policy sees, one a chunk, which costs nothing.
    """

    task_id: int
    init_state: int
    seed: int
    perturb: Perturbation | None = None
    film: Path | None = None
    film_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How every worker is built.

    `insider` makes what acts in the place of the policy's actions, out of the scene of each episode. With `draws`
    false, pictures are left black unless they are filmed.
    """

    suite: str
    image_size: int
    execute: int
    max_steps: int
    settle_steps: int
    assets: Assets
    render_device: int = -1
    insider: Callable[[Simulator], Insider] | None = None
    draws: bool = True


class ChunkEnv(gymnasium.Env[dict[str, Array], Array]):
    """LIBERO with chunks of C actions as its actions; `reset(options={"episode": Episode(...)})` starts an episode.

    The scene is built anew when the task changes, and only then. Observations are LiberoEnv's, drawn at the end of a
    chunk, and not at all once the episode is over, when nobody acts on them.

    A simulator that breaks in the middle of an episode ends that episode, with the reason in `info["error"]`, and is
    built anew for the next one. A scene that cannot be changed as asked ends it before it begins.

    Args:
        settings: what to build.
    """

    metadata = LiberoEnv.metadata
    render_mode = None

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self._env: LiberoEnv | None = None
        size = settings.image_size
        picture = spaces.Box(0, 255, (size, size, 3), np.uint8)
        state = spaces.Box(-np.inf, np.inf, (LIBERO_STATE.dim,), np.float32)
        self.observation_space = spaces.Dict({**dict.fromkeys(IMAGE_KEYS, picture), STATE_KEY: state})
        self.action_space = spaces.Box(
            LIBERO_ACTION.low, LIBERO_ACTION.high, (settings.execute, LIBERO_ACTION.dim), np.float32
        )
        self._last = {key: np.zeros(space.shape or (), space.dtype) for key, space in self.observation_space.items()}
        self._insider: Insider | None = None
        self._film: VideoWriter | None = None
        self._film_size: int | None = None
        self._num_steps = 0

    @property
    def env(self) -> LiberoEnv:
        """The scene of the present episode's task."""
        assert self._env is not None, "an episode was started"
        return self._env

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Starts `options["episode"]`; its own seed counts, not the argument."""
        super().reset(seed=seed)
        episode: Episode = (options or {})["episode"]
        self._drop_film()
        self._enter(episode.task_id)
        self._num_steps = 0
        own = {"init_state": episode.init_state, "env_seed": episode.seed, "perturb": episode.perturb}
        try:
            observation, info = self.env.reset(options=own)
        except CannotVary as error:
            return self._last, {"success": False, "num_steps": 0, "error": f"{type(error).__name__}: {error}"}
        if "perturbation" in info:
            info["perturbation"] = json.dumps(info["perturbation"])
        make = self.settings.insider
        self._insider = make(self.env.simulator) if make else None
        self._start_film(episode)
        self._last = self._draw(observation)
        self._shoot()
        return self._last, info

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Executes the chunk (C, 7) until the episode ends. Raises ValueError for a bad action."""
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
        self._drop_film()
        self._leave()

    def _enter(self, task_id: int) -> None:
        """Builds the task's scene unless it is the present one."""
        if self._env is not None and self._env.task.task_id == task_id:
            return
        self._leave()
        settings = self.settings
        self._env = LiberoEnv(
            settings.suite,
            task_id=task_id,
            image_size=settings.image_size,
            assets=settings.assets,
            render_device=settings.render_device,
            images=False,
            max_steps=settings.max_steps,
            settle_steps=settings.settle_steps,
        )

    def _leave(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def _execute(self, chunk: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """One `step_chunk`, or one for every action where something is to be done between them."""
        smooth = self._film is not None and self._film_size is not None
        pieces = list(chunk[:, None]) if smooth or self._insider else [chunk]
        for piece in pieces:
            try:
                wanted = self._insider.act(self.env.simulator)[None] if self._insider else piece
                observation, reward, success, cut, info = self.env.step_chunk(wanted)
            except Exception as error:  # whatever MuJoCo or robosuite raise when a scene explodes: goes into the record
                raise SimulatorBroke(" ".join(f"{type(error).__name__}: {error}".split())) from error
            self._num_steps = info["num_steps"]
            if smooth:
                self._shoot_smooth()
            if success or cut:
                break
        return observation, reward, success, cut, info

    def _draw(self, observation: dict[str, Array]) -> dict[str, Array]:
        """The observation with pictures."""
        if not self.settings.draws and (self._film is None or self._film_size is not None):
            return self._last | observation
        size = self.settings.image_size
        pictures = {
            key: self.env.simulator.see(camera, size=size) for key, camera in zip(IMAGE_KEYS, CAMERAS, strict=True)
        }
        return pictures | observation

    def _start_film(self, episode: Episode) -> None:
        self._film_size = episode.film_size
        if episode.film is not None:
            rate = 1 if episode.film_size is not None else self.settings.execute
            self._film = VideoWriter(episode.film, fps=CONTROL_HZ / rate)

    def _shoot(self) -> None:
        """A frame of a chunk-rate film: the policy's own picture."""
        if self._film is not None and self._film_size is None:
            self._film.add(self._last[IMAGE_KEY])

    def _shoot_smooth(self) -> None:
        assert self._film is not None
        assert self._film_size is not None
        self._film.add(self.env.simulator.render(CAMERAS[0], size=self._film_size))

    def _end_film(self) -> None:
        if self._film is None:
            return
        if self._film_size is None:  # show how it ended
            self._film.add(self.env.simulator.render(CAMERAS[0], size=self.settings.image_size))
        self._film.close()
        self._film = None

    def _drop_film(self) -> None:
        if self._film is not None:
            self._film.discard()
            self._film = None

    def _give_up(self, reason: str) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        self._drop_film()
        self._leave()
        return self._last, 0.0, False, True, {"success": False, "num_steps": self._num_steps, "error": reason}
