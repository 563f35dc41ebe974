"""Random, zero and blinded policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from vst_vla.policies.baselines import RandomPolicy, ShuffledImages, ZeroPolicy
from vst_vla.vla.contracts import (
    IMAGE_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    STATE_KEY,
    STILL_ACTION,
    TASK_KEY,
    WRIST_IMAGE_KEY,
    Observation,
    Policy,
)


def observe(number: int) -> Observation:
    rng = np.random.default_rng(number)
    pictures = {key: rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    return {**pictures, STATE_KEY: rng.normal(size=8).astype(np.float32), TASK_KEY: "pick up the soup"}


class Eyes:
    """A policy that answers with what it sees."""

    action_spec = LIBERO_ACTION
    state_spec = LIBERO_STATE

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.resets = 0

    def infer(self, observation: Observation) -> dict[str, Any]:
        self.seen.append(observation)
        return {"actions": np.zeros((1, 7), np.float32)}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Any]]:
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        self.resets += 1


@pytest.mark.parametrize("policy", [RandomPolicy(chunk=5), ZeroPolicy(chunk=5), ShuffledImages(ZeroPolicy(chunk=5))])
def test_all_are_policies_with_actions_in_the_spec(policy: Policy) -> None:
    assert isinstance(policy, Policy)
    actions = policy.infer(observe(0))["actions"]
    assert (actions.shape, actions.dtype) == ((5, 7), np.float32)
    LIBERO_ACTION.check(actions)
    batch = policy.infer_batch([observe(1), observe(0)])
    assert np.array_equal(batch[1]["actions"], actions)
    policy.reset()
    assert np.array_equal(policy.infer(observe(0))["actions"], actions)


def test_random_actions_cover_the_range_and_follow_seed_and_state() -> None:
    many = np.concatenate([RandomPolicy(seed=1).infer(observe(i))["actions"] for i in range(60)])
    assert np.all(many.min(axis=0) < -0.9)
    assert np.all(many.max(axis=0) > 0.9)
    assert np.all(np.abs(many.mean(axis=0)) < 0.15)
    first = RandomPolicy(seed=1).infer(observe(0))["actions"]
    assert not np.array_equal(first, RandomPolicy(seed=2).infer(observe(0))["actions"])
    assert not np.array_equal(first, RandomPolicy(seed=1).infer(observe(1))["actions"])


def test_zero_stays_still_with_an_open_gripper() -> None:
    assert np.array_equal(ZeroPolicy(chunk=2).infer(observe(0))["actions"], [STILL_ACTION] * 2)


def test_shuffling_moves_whole_pixels_the_same_way_always() -> None:
    eyes = Eyes()
    blinded = ShuffledImages(eyes, seed=4)
    observation = observe(0)
    originals = {key: observation[key].copy() for key in IMAGE_KEYS}
    blinded.infer(observation)
    seen = eyes.seen[0]
    for key in IMAGE_KEYS:
        assert seen[key].shape == originals[key].shape
        assert not np.array_equal(seen[key], originals[key])
        assert np.array_equal(observation[key], originals[key]), "the caller's pictures stay as they are"
        before, after = (picture.reshape(-1, 3) for picture in (originals[key], seen[key]))
        assert np.array_equal(before[np.lexsort(before.T)], after[np.lexsort(after.T)])
    assert seen[STATE_KEY] is observation[STATE_KEY]
    assert seen[TASK_KEY] == observation[TASK_KEY]
    same = {IMAGE_KEY: originals[IMAGE_KEY], WRIST_IMAGE_KEY: originals[IMAGE_KEY]}
    blinded.infer_batch([observe(1) | same])
    assert np.array_equal(eyes.seen[1][IMAGE_KEY], seen[IMAGE_KEY])
    assert np.array_equal(eyes.seen[1][WRIST_IMAGE_KEY], seen[IMAGE_KEY])
    assert not np.array_equal(ShuffledImages(eyes, seed=5).shuffle(observation)[IMAGE_KEY], seen[IMAGE_KEY])


def test_a_blinded_policy_keeps_its_conventions_and_resets() -> None:
    eyes = Eyes()
    blinded = ShuffledImages(eyes)
    blinded.reset()
    assert (eyes.resets, blinded.action_spec, blinded.state_spec) == (1, LIBERO_ACTION, LIBERO_STATE)


@pytest.mark.parametrize("make", [RandomPolicy, ZeroPolicy])
def test_empty_chunks_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="chunk is 0, expected at least 1"):
        make(chunk=0)
