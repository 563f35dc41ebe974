"""One demonstration: the expert solves an episode under noise while its clean actions are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.perturb.axis import CannotVary
from vst_vla.envs.perturb.perturbation import Perturbation
from vst_vla.envs.suites import NUM_EVAL_STATES, init_states
from vst_vla.policies.expert.expert import Expert
from vst_vla.policies.recording import Failure, Outcome, Recorder, Recording, is_no_op
from vst_vla.vla.contracts import LIBERO_ACTION, STATE_KEY, Array

MAX_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class EpisodeJob:
    """Which demonstration to record. With the suite, it fixes the episode's content."""

    task_id: int
    number: int  # among the task's episodes
    seed: int
    noise: float  # factor on the expert's own noise scale
    image_size: int
    vary: tuple[str, ...] = ()  # axes of `envs/perturb` along which the scene is changed
    vary_strength: float = 1.0  # in (0, 1]
    geometry: bool = False  # with labels of what the pictures' cells show

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown axis or a strength out of range."""
        self.perturbation(0)

    def perturbation(self, attempt: int) -> Perturbation | None:
        """How the scene of an attempt is changed; None when nothing is to vary."""
        if not self.vary:
            return None
        seed = (self.seed, self.task_id, self.number, attempt)
        return Perturbation(axes=self.vary, seed=seed, strength=self.vary_strength)

    def run(self, env: LiberoEnv) -> Outcome:
        """As `record`."""
        return record(env, self)


def record(env: LiberoEnv, job: EpisodeJob) -> Outcome:
    """Runs candidates until one succeeds; each starts from the next initial state that is not kept for evaluation.

    A failure when `MAX_ATTEMPTS` in a row do not, or when the scene cannot be varied as asked.
    """
    choices = range(NUM_EVAL_STATES, len(init_states(env.task)))
    for attempt in range(MAX_ATTEMPTS):
        init_state = choices[(job.number + attempt) % len(choices)]
        episode = _Attempt(env)
        try:
            success = episode.run(init_state, job=job, attempt=attempt)
        except CannotVary as error:
            return Failure(task_id=job.task_id, tries=attempt + 1, reason=str(error))
        if success:
            return episode.recording(job, init_state, tries=attempt + 1)
    reason = f"the expert failed {MAX_ATTEMPTS} times in a row with noise {job.noise:g}"
    return Failure(task_id=job.task_id, tries=MAX_ATTEMPTS, reason=reason, film=episode.frames.film())


def disturb(action: Array, *, scale: float, rng: np.random.Generator) -> Array:
    """The action (7,) with Gaussian noise on its translation, inside the action's range."""
    executed = action.copy()
    executed[:3] += rng.normal(size=3) * scale
    return LIBERO_ACTION.clip(executed).astype(np.float32)


class _Attempt:
    """One run of the expert."""

    def __init__(self, env: LiberoEnv) -> None:
        self._env = env
        self.frames = Recorder(env.simulator)
        self._steps = 0
        self._variation: dict[str, Any] = {}

    def run(self, init_state: int, *, job: EpisodeJob, attempt: int) -> bool:
        """Runs the episode to its end and says whether it succeeded."""
        rng = np.random.default_rng([job.seed, job.task_id, job.number, attempt])
        options = {"init_state": init_state, "perturb": job.perturbation(attempt)}
        observation, info = self._env.reset(options=options)
        self._variation = info.get("perturbation", {})
        expert = Expert(self._env.simulator)
        success = truncated = False
        while not (success or truncated):
            action = expert.act(self._env.simulator)
            if not is_no_op(action, previous=self.frames.last_action):
                self.frames.add(observation[STATE_KEY], action)
            executed = disturb(action, scale=job.noise * expert.noise_scale, rng=rng)
            observation, _, success, truncated, _ = self._env.step(executed)
            self._steps += 1
        return success

    def recording(self, job: EpisodeJob, init_state: int, *, tries: int) -> Recording:
        labels, classes = self.frames.label() if job.geometry else ({}, ())
        return Recording(
            task=self._env.simulator.language,
            task_id=job.task_id,
            init_state=init_state,
            tries=tries,
            steps=self._steps,
            states=self.frames.states,
            actions=self.frames.actions,
            images=self.frames.draw(size=job.image_size),
            labels=labels,
            classes=classes,
            variation=self._variation,
        )
