"""The policy plug-in: the same loss, actions and checkpoint in LeRobot's hands as in ours; its programs as they are."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies import make_policy, make_policy_config, make_pre_post_processors
from PIL import Image

from vst_vla.policies.lerobot.batches import observations
from vst_vla.policies.lerobot.configuration_vst_vla import VstVlaConfig
from vst_vla.policies.lerobot.convert import from_lerobot, to_lerobot
from vst_vla.policies.lerobot.modeling_vst_vla import VstVlaPolicy
from vst_vla.policies.vla_policy import VLAPolicy, checkpoint_hash
from vst_vla.scripts import lerobot_convert
from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset
from vst_vla.vla.data.robot import ReaderOptions, RobotDataset
from vst_vla.vla.transforms import apply, build_transforms

PLUGIN = "vst_vla.policies.lerobot"
LIBERO_NAMES = {STATE_KEY: list(LIBERO_STATE.names), ACTION_KEY: list(LIBERO_ACTION.names)}


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def write(folder: Path, names: dict[str, list[str]], *, scale: float = 1.0, cameras: tuple[str, ...] = IMAGE_KEYS):
    rng = np.random.default_rng(0)
    episodes = []
    for number, length in enumerate((14, 11)):
        width = len(names[ACTION_KEY])
        actions = scale * np.sin(np.arange(length)[:, None] / 3 + np.arange(width) + number).astype(np.float32)
        states = rng.normal(size=(length, len(names[STATE_KEY]))).astype(np.float32)
        pictures = {key: [png(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in actions] for key in cameras}
        vectors = {STATE_KEY: states, ACTION_KEY: actions}
        episodes.append(Episode(task=f"do task {number}", vectors=vectors, images=pictures))
    write_dataset(folder, episodes, fps=20, robot_type="panda", names=names)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "set", LIBERO_NAMES)


def config(**changes: object) -> VstVlaConfig:
    made = make_policy_config("vst_vla", device="cpu", push_to_hub=False, image_size=56, **changes)
    assert isinstance(made, VstVlaConfig)
    return made


def lerobot_data(folder: Path, chunk: int = 8) -> LeRobotDataset:
    return LeRobotDataset("a/b", root=folder, delta_timestamps={ACTION_KEY: [i / 20 for i in range(chunk)]})


def batch_of(data: LeRobotDataset, *indices: int) -> dict:
    return torch.utils.data.default_collate([data[index] for index in indices])


@pytest.fixture(scope="module")
def policy(dataset: Path) -> VstVlaPolicy:
    torch.manual_seed(0)
    made = make_policy(config(), ds_meta=lerobot_data(dataset).meta)
    assert isinstance(made, VstVlaPolicy)
    return made


def test_lerobots_batch_gives_our_loss(policy: VstVlaPolicy, dataset: Path) -> None:
    """The loss on LeRobot's batch is the model's on our reader's samples of the same frames."""
    indices = (0, 3, 12, 20)
    preprocess, _ = make_pre_post_processors(policy.config, dataset_stats=lerobot_data(dataset).meta.stats)
    policy.eval()
    loss, numbers = policy.forward(preprocess(batch_of(lerobot_data(dataset), *indices)))
    ours = RobotDataset(dataset, chunk=8, options=ReaderOptions(cache_gib=0))
    transforms = build_transforms(policy.model.spec, stats=policy.model.norm_stats)
    collator = Collator(policy.model.processor, image_keys=IMAGE_KEYS, num_slots=policy.model.head.num_slots)
    expected = policy.model(**collator.robot([apply(transforms, ours[index]) for index in indices]))
    assert loss.item() == pytest.approx(expected["loss"].item(), rel=1e-6)
    assert numbers == {"action_l1": pytest.approx(loss.item())}
    policy.train()
    torch.manual_seed(1)
    augmented = policy.forward(preprocess(batch_of(lerobot_data(dataset), *indices)))[0].item()
    assert augmented != pytest.approx(loss.item(), rel=1e-4)
    torch.manual_seed(1)
    again = policy.forward(preprocess(batch_of(lerobot_data(dataset), *indices)))[0].item()
    assert again == augmented, "augmentation follows torch's seed, which LeRobot restores"
    policy.eval()


def test_actions_are_our_policys(policy: VstVlaPolicy, dataset: Path, tmp_path: Path) -> None:
    """Saved by LeRobot, our checkpoint inside acts as the plug-in does; chunks are handed out step by step."""
    policy.save_pretrained(tmp_path / "saved")
    loaded = VstVlaPolicy.from_pretrained(tmp_path / "saved")
    data = lerobot_data(dataset)
    preprocess, postprocess = make_pre_post_processors(loaded.config, dataset_stats=data.meta.stats)
    frames = [{key: value for key, value in data[i].items() if not key.startswith("action")} for i in (2, 16)]
    batch = preprocess(torch.utils.data.default_collate(frames))
    chunks = loaded.predict_action_chunk(batch)
    assert (chunks.shape, chunks.dtype) == ((2, 8, 7), torch.float32)
    ours = VLAPolicy(tmp_path / "saved" / "vst_vla", device="cpu")
    replies = ours.infer_batch(observations(batch, spec=loaded.model.spec))
    for chunk, reply in zip(chunks, replies, strict=True):
        np.testing.assert_allclose(chunk.numpy(), reply["actions"], atol=1e-5)
    loaded.config.n_action_steps = 3
    steps = [postprocess(loaded.select_action(batch)) for _ in range(4)]
    expected = [chunks[:, 0], chunks[:, 1], chunks[:, 2], chunks[:, 0]]
    for step, action in zip(steps, expected, strict=True):
        assert torch.allclose(step, action, atol=1e-5)
    loaded.select_action(batch)
    loaded.reset()
    assert torch.allclose(loaded.select_action(batch), chunks[:, 0], atol=1e-5)


def test_checkpoints_convert_both_ways(policy: VstVlaPolicy, dataset: Path, tmp_path: Path) -> None:
    policy.model.save(tmp_path / "ours")
    to_lerobot(tmp_path / "ours", out=tmp_path / "theirs")
    loaded = VstVlaPolicy.from_pretrained(tmp_path / "theirs")
    preprocess, _ = make_pre_post_processors(loaded.config, pretrained_path=str(tmp_path / "theirs"))
    batch = preprocess(batch_of(lerobot_data(dataset), 5))
    assert torch.equal(loaded.predict_action_chunk(batch), policy.predict_action_chunk(batch))
    from_lerobot(tmp_path / "theirs", out=tmp_path / "back")
    assert checkpoint_hash(tmp_path / "back") == checkpoint_hash(tmp_path / "ours")
    for source, out in (("ours", "a"), ("theirs", "b")):
        assert lerobot_convert.main([f"checkpoint={tmp_path / source}", f"out={tmp_path / out}"]) == 0
    assert (tmp_path / "a" / "vst_vla").is_dir()
    assert (tmp_path / "b" / "head.safetensors").is_file()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and is not a checkpoint"):
        to_lerobot(tmp_path / "ours", out=tmp_path / "other")
    with pytest.raises(ValueError, match="no policy at"):
        to_lerobot(tmp_path / "other", out=tmp_path / "x")
    with pytest.raises(ValueError, match="holds no policy of type vst_vla"):
        from_lerobot(tmp_path / "ours", out=tmp_path / "x")


def test_another_robot_by_its_own_names(tmp_path: Path) -> None:
    """Six joints in degrees, one camera: statistics and range out of the data, actions in the robot's units."""
    joints = [f"joint_{number}.pos" for number in range(5)] + ["gripper"]
    names = {STATE_KEY: joints, ACTION_KEY: joints}
    front = "observation.images.front"
    data = lerobot_data(write(tmp_path / "so101", names, scale=90.0, cameras=(front,)))
    with pytest.raises(ValueError, match=r"set --policy\.conventions=recorded"):
        make_policy(config(), ds_meta=data.meta)
    made = make_policy(config(conventions="recorded"), ds_meta=data.meta)
    spec = made.model.spec
    assert spec.image_keys == (front,)
    assert spec.state.names == tuple(joints)
    assert spec.action.names == (*joints[:5], "gripper_position")
    assert (round(spec.action.low), round(spec.action.high)) == (-90, 90)
    preprocess, _ = make_pre_post_processors(made.config, dataset_stats=data.meta.stats)
    batch = preprocess(batch_of(data, 1, 2))
    made.eval()
    assert made.forward(batch)[0].item() < 3
    chunks = made.predict_action_chunk(batch)
    assert chunks.shape == (2, 8, 6)
    assert torch.isfinite(chunks).all()


def test_settings_that_do_not_fit_are_named(policy: VstVlaPolicy, dataset: Path, tmp_path: Path) -> None:
    for changes, reason in (
        ({"conventions": "libro"}, "unknown conventions 'libro': did you mean 'libero'?"),
        ({"n_action_steps": 9}, "n_action_steps is 9, expected 1 to chunk_size=8"),
        ({"normalization_mapping": {"STATE": "QUANTILES"}}, "normalization_mapping must be IDENTITY"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
    ):
        with pytest.raises(ValueError, match=re.escape(reason)):
            config(**changes)
    with pytest.raises(ValueError, match="image_size 60 is no multiple of 28: try 56"):
        make_policy_config("vst_vla", device="cpu", image_size=60)
    with pytest.raises(ValueError, match="unknown head 'paralel': did you mean 'parallel'"):
        make_policy(config(head="paralel"), ds_meta=lerobot_data(dataset).meta)
    policy.save_pretrained(tmp_path / "saved")
    other = VstVlaConfig.from_pretrained(tmp_path / "saved", cli_overrides=["--chunk_size=16"])
    with pytest.raises(ValueError, match=r"the checkpoint has .*: leave the option out"):
        VstVlaPolicy.from_pretrained(tmp_path / "saved", config=other)
    fresh = config()
    fresh.input_features = {key: f for key, f in policy.config.input_features.items() if f.type is FeatureType.STATE}
    with pytest.raises(ValueError, match="no feature of type VISUAL"):
        make_policy(fresh, ds_meta=lerobot_data(dataset).meta)
    with pytest.raises(ValueError, match="a fresh policy needs a dataset"):
        VstVlaPolicy(config())
    with pytest.raises(ValueError, match=r"batch has no 'observation.images.image2'"):
        policy.predict_action_chunk({IMAGE_KEYS[0]: torch.zeros(1, 3, 8, 8)})


def lerobot(program: str, *options: str, cwd: Path, **environment: str) -> str:
    """What one of LeRobot's programs says."""
    command = [sys.executable, "-m", f"lerobot.scripts.lerobot_{program}", *options]
    variables = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **environment}
    done = subprocess.run(command, cwd=cwd, env=os.environ | variables, timeout=900, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout + done.stderr


TRAIN = (
    f"--policy.discover_packages_path={PLUGIN}",
    *("--dataset.repo_id=a/b", "--num_workers=0", "--log_freq=5", "--save_freq=20", "--env_eval_freq=0"),
)


def trained(dataset: Path, cwd: Path) -> Path:
    """Twenty steps of `lerobot-train`; returns the folder of the newest checkpoint."""
    said = lerobot(
        "train",
        *TRAIN,
        *("--policy.type=vst_vla", "--policy.device=cpu", "--policy.push_to_hub=false", "--policy.image_size=56"),
        *("--policy.optimizer_lr=8e-4", "--policy.warmup_steps=2", "--batch_size=2", "--steps=20"),
        *(f"--dataset.root={dataset}", "--output_dir=run"),
        cwd=cwd,
    )
    assert "End of training" in said
    return cwd / "run" / "checkpoints" / "last" / "pretrained_model"


@pytest.mark.slow
def test_lerobot_train_resumes(dataset: Path, tmp_path: Path) -> None:
    """The stock program: 20 steps, resumed to 40; what it wrote acts here."""
    folder = trained(dataset, tmp_path)
    first = checkpoint_hash(folder / "vst_vla")
    said = lerobot(
        "train",
        *(f"--policy.discover_packages_path={PLUGIN}", f"--config_path={folder / 'train_config.json'}"),
        *("--resume=true", "--steps=40"),
        cwd=tmp_path,
    )
    assert "End of training" in said
    steps = {int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit()}
    assert steps == {20, 40}
    assert checkpoint_hash(folder / "vst_vla") != first
    assert VLAPolicy(folder / "vst_vla", device="cpu").chunk == 8
