"""Past pictures when acting: which are remembered, for which episode, and that they act as those of training do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vst_vla.envs.rollout import rollout
from vst_vla.envs.rollout_settings import RolloutSettings
from vst_vla.policies.baselines import ShuffledImages
from vst_vla.policies.lerobot.convert import to_lerobot
from vst_vla.policies.picture_memory import PictureMemory
from vst_vla.policies.vla_policy import VLAPolicy
from vst_vla.scripts.config import compose
from vst_vla.scripts.serve import make_server
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import (
    ACTION_KEY,
    IMAGE_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    MOMENT_KEY,
    STATE_KEY,
    TASK_KEY,
    Moment,
    Observation,
)
from vst_vla.vla.model import VLAModel
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.spec import ModelSpec

SIZE = 56


def look(number: int) -> Observation:
    """An observation that is like no other."""
    rng = np.random.default_rng(number)
    pictures = {key: rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    return {**pictures, STATE_KEY: rng.uniform(-0.5, 0.5, 8).astype(np.float32), TASK_KEY: "pick up the soup"}


def past_of(memory: PictureMemory, step: int, *, steps: int = 8) -> int:
    """The step whose picture a query at `step` is given; its own picture shows its step."""
    seen = memory.complete({IMAGE_KEY: np.full((2, 2, 3), step, np.uint8)}, step=step)
    return int(seen[f"{IMAGE_KEY}.before{steps}"][0, 0, 0])


def test_it_gives_the_latest_that_is_far_enough_back_or_the_first() -> None:
    memory = PictureMemory([IMAGE_KEY], history=(8,))
    assert [past_of(memory, step) for step in (0, 4, 8, 12, 16, 20)] == [0, 0, 0, 4, 8, 12], "exact for multiples"
    memory.clear()
    assert [past_of(memory, step) for step in (5, 10, 15, 20, 25)] == [5, 5, 5, 10, 15]
    assert [past_of(memory, step) for step in (25, 26)] == [15, 15], "an equal step is asked about anew"
    assert past_of(memory, 100) == 26
    fresh = PictureMemory([IMAGE_KEY], history=(8,))
    assert [past_of(fresh, step) for step in (0, 4, 3, 5)] == [0, 0, 3, 3], "a step back is another episode"


def test_several_times_and_no_more_than_is_wanted() -> None:
    memory = PictureMemory([IMAGE_KEY], history=(2, 6))
    for step in range(50):
        seen = memory.complete({IMAGE_KEY: np.full((2, 2, 3), step, np.uint8)}, step=step)
        for steps in (2, 6):
            assert seen[f"{IMAGE_KEY}.before{steps}"][0, 0, 0] == max(step - steps, 0)
        assert len(memory._seen) <= 7


def test_past_pictures_that_are_brought_stay() -> None:
    memory = PictureMemory([IMAGE_KEY], history=(8,))
    brought = {IMAGE_KEY: np.zeros((2, 2, 3)), f"{IMAGE_KEY}.before8": np.ones((2, 2, 3))}
    assert memory.complete(brought, step=4) is brought
    assert past_of(memory, 20) == 20, "nothing of it was remembered"
    lacking: Observation = {TASK_KEY: "go"}
    assert memory.complete(lacking, step=30) is lacking
    assert PictureMemory([IMAGE_KEY], history=()).complete(look(0), step=0).keys() == look(0).keys()


def save(folder: Path, **spec: Any) -> Path:
    """A policy that reacts to all that it sees."""

    def feature(width: int) -> FeatureStats:
        low, top, middle = (-0.5,) * width, (0.5,) * width, (0.0,) * width
        return FeatureStats(mean=middle, std=top, min=low, max=top, q01=low, q99=top)

    torch.manual_seed(0)
    stats = NormStats({ACTION_KEY: feature(7), STATE_KEY: feature(8)})
    made = ModelSpec(head={"name": "parallel", "chunk": 4}, image_size=SIZE, **spec)
    model = VLAModel(load_backbone("tiny"), spec=made, norm_stats=stats)
    for weights in model.head.parameters():  # type: ignore[union-attr]
        torch.nn.init.normal_(weights, std=0.05)
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("history") / "model", history=(8,))


@pytest.fixture
def policy(folder: Path) -> VLAPolicy:
    return VLAPolicy(folder, device="cpu")


def at(number: int, *, step: int, slot: int = 0) -> Observation:
    return look(number) | {MOMENT_KEY: Moment(slot=slot, task_id=0, init_state=0, step=step)}


def told(number: int, *, before: int) -> Observation:
    """The observation with its past pictures."""
    return look(number) | {f"{key}.before8": look(before)[key] for key in IMAGE_KEYS}


def test_it_acts_alike_on_what_it_is_told_and_what_it_remembers(policy: VLAPolicy) -> None:
    """Two episodes at a time, then a new one in the place of the first."""
    assert (policy.reads_moment, policy.history) == (True, (8,))
    for step in (0, 4, 8, 12):
        pair = [at(step, step=step, slot=0), at(50 + step, step=step, slot=1)]
        replies = policy.infer_batch(pair)
        before = max(0, step - 8)
        wanted = policy.infer_batch([told(step, before=before), told(50 + step, before=50 + before)])
        for reply, expected in zip(replies, wanted, strict=True):
            np.testing.assert_array_equal(reply["actions"], expected["actions"])
    recent, old = (policy.infer(told(12, before=before))["actions"] for before in (12, 4))
    assert np.abs(recent - old).max() > 1e-4
    fresh = policy.infer(at(30, step=0, slot=0))["actions"]
    np.testing.assert_allclose(fresh, policy.infer(told(30, before=30))["actions"], atol=1e-6)
    other = policy.infer(at(66, step=16, slot=1))["actions"]
    np.testing.assert_allclose(other, policy.infer(told(66, before=58))["actions"], atol=1e-6)


def test_a_reset_forgets_and_without_a_moment_nothing_is_made_up(policy: VLAPolicy) -> None:
    policy.infer(at(0, step=0))
    policy.reset()
    reply = policy.infer(at(8, step=8))["actions"]
    np.testing.assert_allclose(reply, policy.infer(told(8, before=8))["actions"], atol=1e-6)
    with pytest.raises(ValueError, match=r"observation has no 'observation.images.image.before8'"):
        policy.infer(look(0))


def test_shuffled_pictures_are_remembered_shuffled(policy: VLAPolicy) -> None:
    blinded = ShuffledImages(policy)
    assert (blinded.reads_moment, blinded.history) == (True, (8,))
    for step in (0, 8):
        reply = blinded.infer(at(step, step=step))["actions"]
    np.testing.assert_allclose(reply, blinded.infer(told(8, before=0))["actions"], atol=1e-6)


def test_a_policy_without_history_is_asked_as_ever(tmp_path: Path) -> None:
    plain = VLAPolicy(save(tmp_path / "plain"), device="cpu")
    assert (plain.reads_moment, plain.history) == (False, ())
    np.testing.assert_array_equal(plain.infer(at(0, step=4))["actions"], plain.infer(look(0))["actions"])


def test_it_can_be_served(folder: Path) -> None:
    """Although it reads moments in a rollout: a server remembers by itself."""
    server = make_server(compose("serve", [f"checkpoint={folder}", "policy.device=cpu"]))
    assert server.needs.history == (8,)
    blank = server.needs.blank(image_size=64)
    assert [key for key in blank if key.endswith(".before8")] == [f"{key}.before8" for key in IMAGE_KEYS]


def test_lerobots_plugin_refuses_it(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"looks back \(\[8\] control steps\), LeRobot's plug-in does not") as caught:
        to_lerobot(folder, out=tmp_path / "theirs")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "theirs").exists()


def test_another_gripper_than_the_environments_is_refused_before_the_first_step(tmp_path: Path) -> None:
    spec = replace(LIBERO_ACTION, gripper="0 open, 1 close")
    other = VLAPolicy(save(tmp_path / "other", action=spec), device="cpu")
    settings = RolloutSettings(suite="libero_object", task_ids=(0,), init_states=(0,), execute=4, video="off")
    expected = "gripper differs: the policy has '0 open, 1 close', LIBERO has '-1 open, \\+1 close'"
    with pytest.raises(ValueError, match=expected):
        rollout(other, settings=settings, progress=False)


@pytest.mark.sim
def test_a_rollout_remembers_for_each_episode(policy: VLAPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four, so that a history of 8 is met exactly; the second episode takes the slot of the first."""
    seen: list[Observation] = []
    complete = PictureMemory.complete

    def listening(self: PictureMemory, observation: Observation, *, step: int) -> Observation:
        seen.append(complete(self, observation, step=step))
        return seen[-1]

    monkeypatch.setattr(PictureMemory, "complete", listening)
    settings = RolloutSettings(
        suite="libero_object", task_ids=(0,), init_states=(0, 1), image_size=64, execute=4, max_steps=16, num_envs=1
    )
    records = rollout(policy, settings=replace(settings, video="off"), progress=False)
    assert [record.num_steps for record in records] == [16, 16]
    episodes: dict[int, dict[int, Observation]] = {}
    for observation in seen:
        moment: Moment = observation[MOMENT_KEY]
        episodes.setdefault(moment.init_state, {})[moment.step] = observation
    assert sorted(episodes) == [0, 1]
    for shown in episodes.values():
        assert sorted(shown) == [0, 4, 8, 12]
        for step, observation in shown.items():
            then = shown[max(0, step - 8)][IMAGE_KEY]
            np.testing.assert_array_equal(observation[f"{IMAGE_KEY}.before8"], then)
    first, second = (episodes[state][0][IMAGE_KEY] for state in (0, 1))
    assert not np.array_equal(first, second), "episodes look different, or the test says nothing"
