"""Demonstrations acted out again from the states where they began: what the evaluator makes of known successes.

A recorded action is what the expert wanted; what was executed had noise on it (`demo_episode.py`), and steps without
motion were left out. So each action is corrected by how far the hand is from where it was recorded, which is nothing in
a demonstration without noise. Letters: T frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vst_vla.policies.demo_dataset import read_record
from vst_vla.policies.preview_data import read_numbers
from vst_vla.vla.contracts import (
    ACTION_KEY,
    LIBERO_ACTION,
    MOMENT_KEY,
    STATE_KEY,
    STILL_ACTION,
    ActionSpec,
    Array,
    Moment,
    Observation,
)

STEP_M = 0.05  # metres that an action of 1 asks for


class ReplayPolicy:
    """Follows the demonstration that began at an episode's own initial state.

    Args:
        folder: a data set that `vst-vla demos` made, of official scenes.
        suite: the one to be evaluated.
        gain: factor on the distance to the recorded hand that each action asks for; the controller covers a part of it.

    Raises:
        ValueError: a folder of another kind or suite, varied scenes, or demonstrations without their initial states.
    """

    action_spec: ActionSpec = LIBERO_ACTION
    reads_moment = True
    blind = True
    chunk = 1

    def __init__(self, folder: str | Path, *, suite: str, gain: float = 2.0) -> None:
        record = read_record(Path(folder).expanduser())
        numbers = read_numbers(folder)
        if record["suite"] != suite:
            raise ValueError(f"'{folder}' holds {record['suite']}, this run is of {suite}: set suite={record['suite']}")
        self.checkpoint = _fingerprint(numbers.vectors)
        self._gain = gain
        self._demos: dict[tuple[int, int], tuple[Array, Array]] = {}
        for episode in numbers.episodes:
            made = episode.made
            if made.get("variation"):
                raise ValueError(f"'{folder}' holds varied scenes: replay demonstrations made without vary=")
            if made.get("init_state") is None:
                raise ValueError(f"'{folder}' does not say where its episodes began: replay what the expert recorded")
            frames = slice(episode.start, episode.stop)
            self._demos.setdefault(
                (int(made["task_id"]), int(made["init_state"])),
                (numbers.vectors[STATE_KEY][frames], numbers.vectors[ACTION_KEY][frames]),
            )

    @property
    def episodes(self) -> tuple[tuple[int, int], ...]:
        """Task and initial state of every demonstration."""
        return tuple(sorted(self._demos))

    def infer(self, observation: Observation) -> dict[str, Array]:
        """The next action of the demonstration as a chunk of one, {"actions": (1, 7)}; still after its last one."""
        moment: Moment = observation[MOMENT_KEY]
        key = moment.task_id, moment.init_state
        if key not in self._demos:
            raise ValueError(f"no demonstration of task {key[0]} from initial state {key[1]}: leave that episode out")
        states, actions = self._demos[key]
        frame = min(moment.step, len(actions) - 1)
        over = moment.step >= len(actions)
        action = np.array([*STILL_ACTION[:6], actions[frame][6]] if over else actions[frame], np.float32)
        action[:3] += self._gain * (states[frame][:3] - observation[STATE_KEY][:3]) / STEP_M
        return {"actions": LIBERO_ACTION.clip(action)[None].astype(np.float32)}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """`infer` on each."""
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        """Nothing to forget."""


def _fingerprint(vectors: Mapping[str, Array]) -> str:
    """The first 12 hex digits of a SHA-256 over all states and actions."""
    digest = hashlib.sha256()
    for key in (STATE_KEY, ACTION_KEY):
        digest.update(vectors[key].tobytes())
    return digest.hexdigest()[:12]
