"""What else can be evaluated, on the real simulator: the expert, replayed demonstrations, LeRobot's own policies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors

from vst_vla.envs.rollout import rollout
from vst_vla.envs.rollout_settings import RolloutSettings, Variation
from vst_vla.policies.catalogue import Made, Request, make_policy
from vst_vla.policies.demos import make_demos
from vst_vla.policies.lerobot_policy import LeRobotPolicy
from vst_vla.policies.replay_policy import ReplayPolicy
from vst_vla.vla.contracts import (
    ACTION_KEY,
    IMAGE_KEYS,
    MOMENT_KEY,
    STATE_KEY,
    TASK_KEY,
    Moment,
    Observation,
)

SIZE = 64
SETTINGS = RolloutSettings(
    suite="libero_object", task_ids=(0,), init_states=(20,), image_size=SIZE, num_envs=1, video="off"
)


def made(name: str, **request: Any) -> Made:
    options = {"name": name, **request.pop("options", {})}
    return make_policy(Request(options=options, suite="libero_object", image_size=SIZE, **request))


def observation(number: int, *, step: int = 0, slot: int = 0) -> Observation:
    rng = np.random.default_rng(number)
    pictures = {key: rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    moment = Moment(slot=slot, task_id=0, init_state=20, step=step)
    return {**pictures, STATE_KEY: rng.normal(size=8).astype(np.float32), TASK_KEY: "go", MOMENT_KEY: moment}


@pytest.mark.sim
def test_the_expert_solves_official_and_other_goals() -> None:
    expert = made("expert", options={"chunk": 8})
    goal = Variation(axes=("goal",), strength=1.0)
    settings = replace(SETTINGS, variations=(Variation(), goal), execute=expert.chunk, init_states=(0,))
    official, other = rollout(expert.policy, settings=settings, progress=False)
    assert (official.success, other.success) == (True, True)
    assert official.task == "pick up the alphabet soup and place it in the basket" != other.task
    assert other.task == other.perturbation["goal"]["task"]
    assert (other.axes, other.strength) == (("goal",), 1.0)


@pytest.mark.sim
def test_demonstrations_succeed_again_from_where_they_began(tmp_path: Path) -> None:
    make_demos(out=tmp_path / "demos", task_ids=[0], num_episodes=1, image_size=16, num_workers=1)
    replay = made("replay", data=str(tmp_path / "demos"), options={"gain": 2.0})
    assert replay.episodes == ((0, 20),)
    settings = replace(SETTINGS, init_states=(20, 21), only=replay.episodes, execute=1)
    records = rollout(replay.policy, settings=settings, progress=False)
    assert [(record.init_state, record.success) for record in records] == [(20, True)]
    with pytest.raises(ValueError, match="no demonstration of task 0 from initial state 5"):
        replay.policy.infer(observation(0) | {MOMENT_KEY: Moment(slot=0, task_id=0, init_state=5, step=0)})
    with pytest.raises(ValueError, match="holds libero_object, this run is of libero_goal: set suite=libero_object"):
        ReplayPolicy(tmp_path / "demos", suite="libero_goal")


def act_config(**changes: Any) -> ACTConfig:
    inputs = {key: PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE)) for key in IMAGE_KEYS}
    inputs[STATE_KEY] = PolicyFeature(FeatureType.STATE, (8,))
    small = {"dim_model": 32, "n_heads": 2, "dim_feedforward": 32, "n_encoder_layers": 1, "n_vae_encoder_layers": 1}
    options = {
        "input_features": inputs,
        "output_features": {ACTION_KEY: PolicyFeature(FeatureType.ACTION, (7,))},
        "chunk_size": 6,
        "n_action_steps": 4,
        "pretrained_backbone_weights": None,
        "device": "cpu",
        "push_to_hub": False,
        **small,
    }
    return ACTConfig(**{**options, **changes})


def save_act(folder: Path, **changes: Any) -> Path:
    """An untrained ACT, as `lerobot-train` saves one."""
    torch.manual_seed(0)
    config = act_config(**changes)
    width = {STATE_KEY: 8, ACTION_KEY: 7}
    stats: dict[str, Any] = {
        key: {"mean": torch.zeros(dim), "std": torch.full((dim,), 0.3)} for key, dim in width.items()
    }
    stats |= {key: {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.2)} for key in IMAGE_KEYS}
    ACTPolicy(config).save_pretrained(folder)
    before, after = make_pre_post_processors(config, dataset_stats=stats)
    before.save_pretrained(folder)
    after.save_pretrained(folder)
    # what lerobot-train writes names weights to be downloaded, which the folder itself holds
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(
        text.replace(
            '"pretrained_backbone_weights": null', '"pretrained_backbone_weights": "ResNet18_Weights.IMAGENET1K_V1"'
        )
    )
    return folder


@pytest.fixture(scope="module")
def act(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_act(tmp_path_factory.mktemp("act"))


def test_an_act_folder_answers_as_lerobot_does(act: Path) -> None:
    policy = LeRobotPolicy(act, image_size=SIZE, device="cpu")
    assert policy.chunk == 4
    (first, second) = policy.infer_batch([observation(0), observation(1)])
    assert first["actions"].shape == (4, 7)
    np.testing.assert_allclose(policy.infer(observation(1))["actions"], second["actions"], atol=1e-5)
    theirs = ACTPolicy.from_pretrained(act, config=act_config())
    before, after = make_pre_post_processors(theirs.config, str(act))
    sample = observation(0)
    batch = {key: torch.from_numpy(sample[key]).permute(2, 0, 1).float() / 255 for key in IMAGE_KEYS}
    ready = before({**batch, STATE_KEY: torch.from_numpy(sample[STATE_KEY]), TASK_KEY: "go"})
    with torch.inference_mode():
        expected = torch.cat([after(theirs.select_action(ready)) for _ in range(4)]).numpy()
    np.testing.assert_allclose(first["actions"], expected.clip(-1, 1), atol=1e-5)


def test_a_policy_that_remembers_keeps_episodes_apart(tmp_path: Path) -> None:
    folder = save_act(tmp_path, temporal_ensemble_coeff=0.01, n_action_steps=1)
    policy = LeRobotPolicy(folder, image_size=SIZE, device="cpu")
    assert policy.chunk == 1
    alone = [policy.infer(observation(i, step=i))["actions"] for i in range(3)]
    policy.reset()
    mixed = []
    for i in range(3):
        mixed.append(policy.infer(observation(i, step=i))["actions"])
        policy.infer(observation(10 + i, step=i, slot=1))
    np.testing.assert_array_equal(np.stack(alone), np.stack(mixed))
    forgetful = policy.infer(observation(2, step=0))["actions"]
    assert not np.allclose(forgetful, alone[2], atol=1e-6), "its memory must matter"
    with pytest.raises(ValueError, match="remembers and is asked at every step"):
        LeRobotPolicy(folder, image_size=SIZE, replan=4)


@pytest.mark.sim
def test_an_act_policy_runs_in_the_evaluator(act: Path) -> None:
    made_act = made("lerobot", checkpoint=str(act), options={"device": "cpu", "replan": None})
    settings = replace(SETTINGS, max_steps=8, execute=made_act.chunk, checkpoint=made_act.checkpoint, init_states=(0,))
    (record,) = rollout(made_act.policy, settings=settings, progress=False)
    assert (record.num_steps, record.error, len(record.run.checkpoint)) == (8, "", 12)


def test_a_policy_of_another_world_is_refused(act: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"looks at pictures of {SIZE} px, not 256: set image_size={SIZE}"):
        LeRobotPolicy(act, image_size=256)
    front = {"observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE))}
    with pytest.raises(ValueError, match=r"looks at 'observation.images.front', LIBERO has observation.images.image"):
        LeRobotPolicy(save_act(tmp_path / "a", input_features=front), image_size=SIZE)
    wide = {ACTION_KEY: PolicyFeature(FeatureType.ACTION, (14,))}
    with pytest.raises(ValueError, match=r"returns actions of shape \(14,\), LIBERO takes \(7,\)"):
        LeRobotPolicy(_with_outputs(act, tmp_path / "b", wide), image_size=SIZE)
    with pytest.raises(ValueError, match=r"is no policy folder of LeRobot's: it has no config.json"):
        LeRobotPolicy(tmp_path / "nowhere", image_size=SIZE)


def _with_outputs(act: Path, folder: Path, outputs: dict[str, PolicyFeature]) -> Path:
    """The folder of a policy with other actions; only its settings are read before it is refused."""
    act_config(output_features=outputs).save_pretrained(folder)
    return folder
