"""One demonstration: the expert solves an episode under noise while its clean actions are recorded.

Letters: T frames. Frame t holds what was seen before the action of frame t.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import CAMERAS
from vst_vla.envs.suites import NUM_EVAL_STATES, init_states
from vst_vla.policies.expert.expert import Expert
from vst_vla.vla.contracts import IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, Array

MAX_ATTEMPTS = 20
NO_OP_NORM = 1e-4
PNG_LEVEL = 1  # fast; a third larger than the default


@dataclass(frozen=True, kw_only=True)
class EpisodeJob:
    """Which demonstration to record. With the suite, it fixes the episode's content."""

    task_id: int
    number: int  # among the task's episodes
    seed: int
    noise: float  # factor on the expert's own noise scale
    image_size: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """A successful episode, ready to be staged."""

    task: str
    task_id: int
    init_state: int
    tries: int  # episodes run until one succeeded
    steps: int  # control steps executed, dropped no-ops included
    states: Array  # (T, 8) float32
    actions: Array  # (T, 7) float32, without noise
    images: dict[str, list[bytes]]  # T PNG files a camera


def record(env: LiberoEnv, job: EpisodeJob) -> Recording:
    """Runs candidates until one succeeds; each starts from the next initial state that is not kept for evaluation.

    Raises:
        ValueError: when the expert fails `MAX_ATTEMPTS` candidates in a row.
    """
    choices = range(NUM_EVAL_STATES, len(init_states(env.task)))
    for attempt in range(MAX_ATTEMPTS):
        init_state = choices[(job.number + attempt) % len(choices)]
        rng = np.random.default_rng([job.seed, job.task_id, job.number, attempt])
        recorder = _Recorder(env, job.image_size)
        if recorder.run(init_state, rng, noise=job.noise):
            return recorder.recording(job, init_state, tries=attempt + 1)
    raise ValueError(
        f"the expert failed {MAX_ATTEMPTS} times in a row at '{env.task.language}' with noise {job.noise:g}: "
        "lower noise, or check the assets with `vst-vla doctor`"
    )


def disturb(action: Array, *, scale: float, rng: np.random.Generator) -> Array:
    """The action (7,) with Gaussian noise on its translation, inside the action's range."""
    executed = action.copy()
    executed[:3] += rng.normal(size=3) * scale
    return LIBERO_ACTION.clip(executed).astype(np.float32)


def is_no_op(action: Array, *, previous: Array | None) -> bool:
    """Whether an action (7,) neither moves the hand nor changes the gripper's command; such frames are dropped."""
    gripper_kept = previous is not None and previous[6] == action[6]
    return gripper_kept and float(np.linalg.norm(action[:6])) < NO_OP_NORM


class _Recorder:
    """The frames of one attempt."""

    def __init__(self, env: LiberoEnv, image_size: int) -> None:
        self._env = env
        self._size = image_size
        self._states: list[Array] = []
        self._actions: list[Array] = []
        self._images: dict[str, list[bytes]] = {key: [] for key in IMAGE_KEYS}
        self._steps = 0

    def run(self, init_state: int, rng: np.random.Generator, *, noise: float) -> bool:
        """Runs the episode to its end and says whether it succeeded."""
        observation, _ = self._env.reset(options={"init_state": init_state})
        expert = Expert(self._env.simulator)
        success = truncated = False
        while not (success or truncated):
            action = expert.act(self._env.simulator)
            if not is_no_op(action, previous=self._actions[-1] if self._actions else None):
                self._add(observation[STATE_KEY], action)
            executed = disturb(action, scale=noise * expert.noise_scale, rng=rng)
            observation, _, success, truncated, _ = self._env.step(executed)
            self._steps += 1
        return success

    def recording(self, job: EpisodeJob, init_state: int, *, tries: int) -> Recording:
        return Recording(
            task=self._env.task.language,
            task_id=job.task_id,
            init_state=init_state,
            tries=tries,
            steps=self._steps,
            states=np.stack(self._states).reshape(-1, LIBERO_STATE.dim),
            actions=np.stack(self._actions).reshape(-1, LIBERO_ACTION.dim),
            images=self._images,
        )

    def _add(self, state: Array, action: Array) -> None:
        self._states.append(state)
        self._actions.append(action)
        for key, picture in zip(IMAGE_KEYS, self._pictures(), strict=True):
            self._images[key].append(encode_png(picture))

    def _pictures(self) -> Iterator[Array]:
        return (self._env.simulator.render(camera, size=self._size) for camera in CAMERAS)


def encode_png(picture: Array) -> bytes:
    """A picture (H, W, 3) uint8 as a PNG file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()
