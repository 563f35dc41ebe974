"""Demonstrations with a varied scene: recorded with what was done, and the same again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.policies.demo_episode import EpisodeJob, record
from vst_vla.policies.recording import Failure, Recording

pytestmark = pytest.mark.sim
OFFICIAL = "pick up the alphabet soup and place it in the basket"


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    env = LiberoEnv("libero_object", task_id=0, images=False)
    yield env
    env.close()


def job(*vary: str) -> EpisodeJob:
    return EpisodeJob(task_id=0, number=0, seed=4, noise=1.0, image_size=32, vary=vary)


def test_a_varied_demonstration_is_recorded_with_what_was_done(env: LiberoEnv) -> None:
    varied, again = (record(env, job("layout", "goal")) for _ in range(2))
    assert isinstance(varied, Recording)
    assert isinstance(again, Recording)
    assert json.loads(json.dumps(varied.variation)) == again.variation
    assert varied.images == again.images
    np.testing.assert_array_equal(varied.actions, again.actions)
    assert set(varied.variation) == {"layout", "goal"}
    assert varied.task == varied.variation["goal"]["task"] != OFFICIAL


def test_a_scene_that_cannot_be_varied_fails_its_task_only(env: LiberoEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vst_vla.envs.perturb.goal._IN_PART", {})
    outcome = record(env, job("goal"))
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith("no other goal can be asked in 'pick up the alphabet soup")


def test_an_unknown_axis_is_named_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="unknown axis 'lights': did you mean 'light'"):
        job("lights")
