"""A tiny checkpoint from random weights as a policy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vst_vla.policies.vla_policy import VLAPolicy, checkpoint_hash, choose_device
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import (
    ACTION_KEY,
    COMMITTED_KEY,
    IMAGE_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    STATE_KEY,
    TASK_KEY,
    Observation,
    Policy,
)
from vst_vla.vla.model import VLAModel
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.spec import ModelSpec


def feature(width: int, *, high: float) -> FeatureStats:
    low, top, middle = (-high,) * width, (high,) * width, (0.0,) * width
    return FeatureStats(mean=middle, std=top, min=low, max=top, q01=low, q99=top)


def observe(number: int, *, size: int = 128, task: str = "pick up the soup") -> Observation:
    rng = np.random.default_rng(number)
    pictures = {key: rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    return {**pictures, STATE_KEY: rng.uniform(-0.5, 0.5, 8).astype(np.float32), TASK_KEY: task}


def save(path: Path, *, action_range: float, head: str = "parallel") -> Path:
    """A policy whose normalised actions stand for +-`action_range`."""
    torch.manual_seed(0)
    stats = NormStats({ACTION_KEY: feature(7, high=action_range), STATE_KEY: feature(8, high=0.5)})
    model = VLAModel(load_backbone("tiny"), spec=ModelSpec(head={"name": head, "chunk": 8}), norm_stats=stats)
    for weights in model.head.parameters():  # a fresh head may start at zero; this one must react to what it sees
        torch.nn.init.normal_(weights, std=0.05)
    model.save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("checkpoint") / "model", action_range=0.5)


@pytest.fixture(scope="module")
def policy(folder: Path) -> VLAPolicy:
    return VLAPolicy(folder, device="cpu")


def test_actions_are_chunks_inside_the_spec(policy: VLAPolicy) -> None:
    assert isinstance(policy, Policy)
    actions = policy.infer(observe(0))["actions"]
    assert (actions.shape, actions.dtype) == ((8, 7), np.float32)
    LIBERO_ACTION.check(actions)
    assert np.abs(actions).max() < 1.0, "nothing is clipped here, or the tests below compare limits with limits"


def test_actions_past_the_spec_are_clipped(tmp_path: Path) -> None:
    actions = VLAPolicy(save(tmp_path / "wide", action_range=1e4), device="cpu").infer(observe(0))["actions"]
    LIBERO_ACTION.check(actions)
    assert np.abs(actions[:, :6]).max() == 1.0


def test_it_looks_at_pictures_state_and_task(policy: VLAPolicy) -> None:
    base = observe(0)
    actions = policy.infer(base)["actions"]
    changes = [{IMAGE_KEY: observe(1)[IMAGE_KEY]}, {STATE_KEY: -base[STATE_KEY]}, {TASK_KEY: "open the drawer"}]
    for change in changes:
        assert not np.allclose(policy.infer(base | change)["actions"], actions, atol=1e-5), (
            f"{list(change)} changed nothing"
        )


def test_a_batch_is_its_single_calls_also_with_prompts_of_unequal_length(policy: VLAPolicy) -> None:
    observations = [
        observe(0),
        observe(1, task="put both the alphabet soup and the tomato sauce in the basket"),
        observe(2),
    ]
    batch = policy.infer_batch(observations)
    for observation, reply in zip(observations, batch, strict=True):
        assert np.allclose(reply["actions"], policy.infer(observation)["actions"], atol=1e-5)


def test_replan_keeps_the_first_actions(folder: Path, policy: VLAPolicy) -> None:
    short = VLAPolicy(folder, device="cpu", replan=3)
    assert short.chunk == 3
    assert np.allclose(short.infer(observe(0))["actions"], policy.infer(observe(0))["actions"][:3])


def test_half_the_memory_gives_about_the_same(folder: Path, policy: VLAPolicy) -> None:
    exact, rounded = (made.infer(observe(0))["actions"] for made in (policy, VLAPolicy(folder, dtype="bfloat16")))
    assert 0 < np.abs(exact - rounded).max() < 0.05


def test_conventions_and_hash_come_from_the_folder(folder: Path, policy: VLAPolicy, tmp_path: Path) -> None:
    assert (policy.action_spec, policy.state_spec, policy.chunk) == (LIBERO_ACTION, LIBERO_STATE, 8)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("a note changes nothing")
    assert checkpoint_hash(copy) == policy.checkpoint
    assert len(policy.checkpoint) == 12
    (copy / "norm_stats.json").write_text((copy / "norm_stats.json").read_text().replace("0.5", "0.6"))
    assert checkpoint_hash(copy) != policy.checkpoint


@pytest.mark.parametrize(
    ("change", "message"),
    [({IMAGE_KEY: None}, f"no '{IMAGE_KEY}'"), ({TASK_KEY: " "}, "task is empty")],
)
def test_bad_observations(policy: VLAPolicy, change: dict, message: str) -> None:
    bad = {key: value for key, value in (observe(0) | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        policy.infer(bad)


def test_bad_folders_devices_and_replan(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint folder at"):
        VLAPolicy(tmp_path / "nowhere")
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "norm_stats.json").unlink()
    with pytest.raises(ValueError, match="normalisation statistics"):
        VLAPolicy(broken)
    with pytest.raises(ValueError, match="replan is 9, expected 1 to 8"):
        VLAPolicy(folder, device="cpu", replan=9)
    with pytest.raises(ValueError, match=r"unknown policy\.dtype 'bfloat8': did you mean 'bfloat16'"):
        VLAPolicy(folder, device="cpu", dtype="bfloat8")
    with pytest.raises(ValueError, match="unknown device 'gpuu': expected auto, cpu"):
        choose_device("gpuu")
    with pytest.raises(ValueError, match="no device 'cuda:99' here"):
        choose_device("cuda:99")


def test_a_flow_continues_the_actions_that_are_committed(tmp_path: Path) -> None:
    """In one batch with an observation that commits to nothing, which is answered as ever."""
    policy = VLAPolicy(save(tmp_path / "flow", action_range=0.5, head="flow"), device="cpu")
    assert policy.inpaints
    plain = [policy.infer(observe(number))["actions"] for number in (0, 1)]
    committed = np.full((3, 7), 0.25, np.float32)
    first, second = policy.infer_batch([observe(0) | {COMMITTED_KEY: committed}, observe(1)])
    np.testing.assert_allclose(first["actions"][:3], committed, atol=1e-6)
    assert np.abs(first["actions"][3:] - plain[0][3:]).max() > 1e-4, "the rest follows from the beginning"
    np.testing.assert_allclose(second["actions"], plain[1], atol=1e-5)
    long = policy.infer(observe(0) | {COMMITTED_KEY: np.full((20, 7), 0.25, np.float32)})["actions"]
    np.testing.assert_allclose(long, np.full((8, 7), 0.25), atol=1e-6)


def test_committed_actions_that_cannot_be_continued(policy: VLAPolicy, tmp_path: Path) -> None:
    assert not policy.inpaints
    with pytest.raises(ValueError, match="head does not continue given actions: leave out 'committed_actions'"):
        policy.infer(observe(0) | {COMMITTED_KEY: np.zeros((2, 7), np.float32)})
    flow = VLAPolicy(save(tmp_path / "flow", action_range=0.5, head="flow"), device="cpu")
    with pytest.raises(ValueError, match=r"'committed_actions' has the shape \(2, 6\), expected \(D, 7\)"):
        flow.infer(observe(0) | {COMMITTED_KEY: np.zeros((2, 6), np.float32)})
