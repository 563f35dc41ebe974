"""Where scenes come from: one task's simulator, put into moments worth asking about.

Three sources. *Rearranged*: an official initial state with objects moved and the arm bent (`variation`). *Episode*: a
moment of an episode that somebody plays on the simulator. *Clip*: several moments of such an episode in order.
Who plays is given from outside (`EpisodeSource`), since this folder knows no policy.

Letters in shapes: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vst_vla.envs.assets import Assets
from vst_vla.envs.qa.base import Clip
from vst_vla.envs.qa.cameras import CameraSampler
from vst_vla.envs.qa.looks import Looks
from vst_vla.envs.qa.variation import Variation
from vst_vla.envs.scene import SceneReader
from vst_vla.envs.simulator import Simulator
from vst_vla.envs.suites import CONTROL_HZ, get_task, init_states
from vst_vla.envs.truth import Camera
from vst_vla.vla.contracts import Array, SceneState

CLIP_FRAMES = 8
_MAX_TRIES = 20
_MIN_EPISODE = CLIP_FRAMES * 2  # control steps


class EpisodeSource(Protocol):
    """Plays one episode. A function of a module, so that worker processes find it by its name."""

    def __call__(self, simulator: Simulator, *, init_state: int, rng: np.random.Generator) -> Array:
        """The flat MuJoCo states (T, 1 + nq + nv) at every control step of an episode from an initial state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How scenes are pictured."""

    cameras: tuple[str, ...]  # the model's, in every scene
    extra_views: int  # cameras put around the work area, anew for each scene
    image_size: int
    mirror: bool
    init_states: tuple[int, ...]
    varied_looks: float = 0.0  # share of the scenes and clips that have another light and background


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """One played episode."""

    states: Array  # (T, 1 + nq + nv) flat MuJoCo states, one a control step
    init_state: int

    def where(self, step: int) -> str:
        """The moment in words."""
        return f"initial state {self.init_state}, step {step} of {len(self.states)}"


class Stage:
    """One task's simulator as a source of scenes.

    Args:
        suite: LIBERO suite.
        task_id: its task.
        assets: LIBERO's assets.
    """

    def __init__(self, suite: str, *, task_id: int, assets: Assets) -> None:
        self.simulator = Simulator(get_task(suite, task_id=task_id), assets=assets)
        self.reader = SceneReader(self.simulator)
        self._variation = Variation(self.simulator, objects=self.reader.objects)
        self._sampler = CameraSampler(self.simulator)
        self._looks = Looks(self.simulator)
        self._states = init_states(self.simulator.task)
        self._where = f"{suite} task {task_id}"

    def rearranged(self, shot: Shot, *, rng: np.random.Generator) -> SceneState:
        """A scene that LIBERO does not hold itself. Raises ValueError when no camera finds room."""
        self._looks.draw(shot.varied_looks, rng=rng)
        for _ in range(_MAX_TRIES):
            number = int(rng.choice(shot.init_states))
            self._variation.apply(self._states[number], rng=rng)
            if cameras := self._cameras(shot, rng):
                return self._capture(shot, cameras, f"initial state {number}, rearranged")
        raise self._no_room()

    def play(self, source: EpisodeSource, shot: Shot, *, rng: np.random.Generator) -> Episode:
        """An episode, played to its end."""
        number = int(rng.choice(shot.init_states))
        states = source(self.simulator, init_state=number, rng=rng)
        assert len(states) >= _MIN_EPISODE, f"an episode of {len(states)} steps is too short to ask about"
        return Episode(states=states, init_state=number)

    def moment(self, episode: Episode, shot: Shot, *, rng: np.random.Generator) -> SceneState:
        """A random moment of an episode. Raises ValueError when no camera finds room."""
        self._looks.draw(shot.varied_looks, rng=rng)
        for _ in range(_MAX_TRIES):
            step = int(rng.integers(len(episode.states)))
            self.simulator.set_state(episode.states[step])
            if cameras := self._cameras(shot, rng):
                return self._capture(shot, cameras, episode.where(step))
        raise self._no_room()

    def clip(self, episode: Episode, shot: Shot, *, rng: np.random.Generator) -> Clip:
        """Evenly spaced moments of an episode, as the shot's own cameras and one that stands still see them.

        Raises:
            ValueError: the shot has no camera of its own, and no other finds room.
        """
        self._looks.draw(shot.varied_looks, rng=rng)
        steps = np.linspace(0, len(episode.states) - 1, CLIP_FRAMES).round().astype(int)
        self.simulator.set_state(episode.states[0])
        still = ["still"] if shot.extra_views or not shot.cameras else []
        cameras: list[str | Camera] = [*shot.cameras, *self._around(rng, still)]
        if not cameras:
            raise self._no_room()
        frames = []
        for step in steps:
            self.simulator.set_state(episode.states[step])
            frames.append(self._capture(shot, cameras, episode.where(int(step))))
        return Clip(frames=tuple(frames), times=tuple(float(step) / CONTROL_HZ for step in steps))

    def close(self) -> None:
        """Frees the simulator."""
        self.simulator.close()

    def _no_room(self) -> ValueError:
        return ValueError(f"no camera finds room around the work area of {self._where}: give cameras=[agentview]")

    def _cameras(self, shot: Shot, rng: np.random.Generator) -> list[str | Camera]:
        return [*shot.cameras, *self._around(rng, [f"view{n}" for n in range(shot.extra_views)])]

    def _around(self, rng: np.random.Generator, names: Sequence[str]) -> list[Camera]:
        data = self.simulator.sim.data._data
        places = np.array([item.pose(data)[0][:3, 3] for item in self.reader.objects if item.parent < 0])
        return self._sampler.sample(places, fovy_deg=self._sampler.lens(rng=rng), names=names, rng=rng)

    def _capture(self, shot: Shot, cameras: Sequence[str | Camera], moment: str) -> SceneState:
        return self.reader.capture(
            cameras=cameras, size=shot.image_size, mirror=shot.mirror, source=f"{self._where}, {moment}"
        )
