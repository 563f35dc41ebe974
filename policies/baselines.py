"""Policies that a learned one is compared with: random, zero, and a learned one that cannot see."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np

from vst_vla.vla.contracts import (
    LIBERO_ACTION,
    PICTURE_PREFIX,
    STATE_KEY,
    STILL_ACTION,
    ActionSpec,
    Array,
    Observation,
    Policy,
    StateSpec,
)


class RandomPolicy:
    """Uniform actions inside the spec.

    Draws depend on the seed and the observed state only, not on what was asked before, so a run's actions are the same
    however its episodes are spread over workers.

    Args:
        seed: another seed gives other actions.
        chunk: actions C in every reply.
    """

    action_spec: ActionSpec = LIBERO_ACTION

    def __init__(self, *, seed: int = 0, chunk: int = 8) -> None:
        self.chunk = _checked_chunk(chunk)
        self._seed = seed

    def infer(self, observation: Observation) -> dict[str, Array]:
        """{"actions": (C, A) float32}."""
        generator = np.random.default_rng([self._seed, zlib.crc32(observation[STATE_KEY].tobytes())])
        spec = self.action_spec
        return {"actions": generator.uniform(spec.low, spec.high, (self.chunk, spec.dim)).astype(np.float32)}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """`infer` on each."""
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        """Nothing to forget."""


class ZeroPolicy:
    """No motion, gripper open. What succeeds with it needed no policy.

    Args:
        chunk: actions C in every reply.
    """

    action_spec: ActionSpec = LIBERO_ACTION

    def __init__(self, *, chunk: int = 8) -> None:
        self.chunk = _checked_chunk(chunk)

    def infer(self, observation: Observation) -> dict[str, Array]:
        """{"actions": (C, A) float32}, whatever is observed."""
        return {"actions": np.tile(np.array(STILL_ACTION, np.float32), (self.chunk, 1))}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """`infer` on each."""
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        """Nothing to forget."""


class ShuffledImages:
    """Another policy whose pictures have their pixels in a fixed random order: does it look at all?

    The order is drawn once for each picture size and is the same in every step, episode and camera. Colours, brightness
    and every statistic of single pixels stay; where things are does not. State and instruction stay as they are. A
    policy that replays a motion, or reads only the state, scores as before; one that looks scores clearly lower. The
    pictures are unlike any in training, so the drop shows that pictures matter, not how well they are understood.

    Args:
        policy: the policy to blind.
        seed: draws the order.
    """

    def __init__(self, policy: Policy, *, seed: int = 0) -> None:
        self.policy = policy
        self.action_spec: ActionSpec = policy.action_spec
        self.state_spec: StateSpec | None = getattr(policy, "state_spec", None)
        self.history: tuple[int, ...] = tuple(getattr(policy, "history", ()))
        self.reads_moment = bool(getattr(policy, "reads_moment", False))
        self._seed = seed

    def infer(self, observation: Observation) -> dict[str, Array]:
        """What the policy does on the shuffled observation."""
        return self.policy.infer(self.shuffle(observation))

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """What the policy does on the shuffled observations."""
        return self.policy.infer_batch([self.shuffle(observation) for observation in observations])

    def reset(self) -> None:
        """Resets the policy."""
        self.policy.reset()

    def shuffle(self, observation: Observation) -> Observation:
        """A copy of the observation with its pictures' pixels in the fixed order."""
        pictures = [key for key in observation if key.startswith(PICTURE_PREFIX)]
        return observation | {key: _reorder(observation[key], seed=self._seed) for key in pictures}


def _reorder(image: Array, *, seed: int) -> Array:
    height, width, channels = image.shape
    order = _order(height * width, seed)
    return np.ascontiguousarray(image.reshape(-1, channels)[order].reshape(image.shape))


@cache
def _order(num_pixels: int, seed: int) -> Array:
    return np.random.default_rng(seed).permutation(num_pixels)


def _checked_chunk(chunk: int) -> int:
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}, expected at least 1 action")
    return chunk
