"""Image history from the reader to the network: the right frames, one crop, the prompt's order, nothing when off."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import (
    ACTION_KEY,
    IMAGE_KEY,
    IMAGE_KEYS,
    STATE_KEY,
    STILL_ACTION,
    TASK_KEY,
    WRIST_IMAGE_KEY,
    geometry_key,
    keys_over_time,
    picture_keys,
)
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel
from vst_vla.vla.settings import claim_run
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.tokenizer import make_tiny_processor
from vst_vla.vla.train.network import build_network
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.run import train
from vst_vla.vla.train.settings import settings_of
from vst_vla.vla.transforms import Augmentation, apply, build_transforms

PARALLEL: dict[str, Any] = {"name": "parallel", "chunk": 4}
LENGTHS = (12, 9)  # of `robot_folder`
SIZE = 56


def test_keys_in_prompt_order() -> None:
    assert keys_over_time(IMAGE_KEY, history=(4, 8)) == (IMAGE_KEY, f"{IMAGE_KEY}.before4", f"{IMAGE_KEY}.before8")
    old, young = [[f"{key}.before{steps}" for key in IMAGE_KEYS] for steps in (8, 4)]
    assert picture_keys(IMAGE_KEYS, history=(4, 8)) == (*old, *young, *IMAGE_KEYS)
    assert picture_keys(IMAGE_KEYS, history=()) == IMAGE_KEYS


@pytest.mark.parametrize("history", [[0], [-8], [8, 8], [8, 4], [1.5], [True], ["8"], 8])
def test_a_history_that_cannot_be_is_one_line(history: Any) -> None:
    values = {"name": "x", "steps": 1, "batch_size": 1, "learning_rate": 1e-3, "history": history}
    expected = f"history is {re.escape(str(history))}, expected control steps .* ascending: try recipe.history=\\[8\\]"
    with pytest.raises(ValueError, match=expected) as caught:
        Recipe.from_dict(values)
    assert "\n" not in str(caught.value)
    if isinstance(history, list):
        with pytest.raises(ValueError, match=expected):
            ModelSpec.from_json(json.dumps(json.loads(ModelSpec().to_json()) | {"history": history}))


def test_past_pictures_are_those_of_the_same_episode(robot_folder: Path) -> None:
    plain, data = RobotDataset(robot_folder, chunk=2), RobotDataset(robot_folder, chunk=2, history=(2, 5))
    starts = np.repeat(np.cumsum([0, *LENGTHS[:-1]]), LENGTHS)
    for index in range(len(data)):
        sample, now = data[index], plain[index]
        assert sample.keys() - now.keys() == {f"{key}.before{steps}" for key in IMAGE_KEYS for steps in (2, 5)}
        for key in IMAGE_KEYS:
            np.testing.assert_array_equal(sample[key], now[key])
            for steps in (2, 5):
                then = plain[max(index - steps, int(starts[index]))][key]
                np.testing.assert_array_equal(sample[f"{key}.before{steps}"], then)
        np.testing.assert_array_equal(sample[ACTION_KEY], now[ACTION_KEY])
    assert data.norm_stats == plain.norm_stats


def test_an_episode_of_another_dataset_is_another_episode(
    learning_data: ModuleType, robot_folder: Path, tmp_path: Path
) -> None:
    other = learning_data.write_robot_data(tmp_path / "other", lengths=(5,))
    both = RobotDataset([robot_folder, other], chunk=2, history=(3,))
    first = RobotDataset(other, chunk=2)[0]
    np.testing.assert_array_equal(both[sum(LENGTHS) + 2][f"{IMAGE_KEY}.before3"], first[IMAGE_KEY])


def pictures(rng: np.random.Generator, history: tuple[int, ...]) -> dict[str, Any]:
    """A sample in which every camera has always shown what it shows now."""
    now = {key: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    state = {STATE_KEY: np.zeros(8, np.float32), ACTION_KEY: np.zeros((4, 7), np.float32)}
    return {seen: now[key] for key in IMAGE_KEYS for seen in keys_over_time(key, history=history)} | state


def transforms(folder: Path, **spec: Any) -> list[Any]:
    stats = RobotDataset(folder, chunk=4).norm_stats
    strong = Augmentation(brightness=0.5, contrast=0.5)
    return build_transforms(ModelSpec(image_size=SIZE, crop=0.7, **spec), stats=stats, augmentation=strong)


def test_a_cameras_pictures_are_cropped_and_jittered_alike(robot_folder: Path) -> None:
    """What did not move stays the same, although something else in the past picture was very bright."""
    steps = transforms(robot_folder, history=(3,))
    for seed in range(10):
        sample = pictures(np.random.default_rng(seed), (3,))
        past = sample[f"{IMAGE_KEY}.before3"] = sample[IMAGE_KEY].copy()
        past[:20] = 255
        varied = apply(steps, sample, rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(varied[f"{WRIST_IMAGE_KEY}.before3"], varied[WRIST_IMAGE_KEY])
        np.testing.assert_array_equal(varied[f"{IMAGE_KEY}.before3"][30:], varied[IMAGE_KEY][30:])
        assert (varied[f"{IMAGE_KEY}.before3"][0] != varied[IMAGE_KEY][0]).any()
    shown = apply(steps, sample)
    assert not np.array_equal(shown[IMAGE_KEY], varied[IMAGE_KEY]), "both were augmented"


def test_present_pictures_are_augmented_as_without_a_history(robot_folder: Path) -> None:
    sample = pictures(np.random.default_rng(0), (3,))
    plain, looking_back = (
        apply(transforms(robot_folder, history=history), sample, rng=np.random.default_rng(5)) for history in ((), (3,))
    )
    for key in (*IMAGE_KEYS, STATE_KEY):
        np.testing.assert_array_equal(plain[key], looking_back[key])


def test_the_oldest_pictures_come_first() -> None:
    times = (".before8", ".before4", "")
    expected = [f"{key}{time}" for time in times for key in IMAGE_KEYS]
    sample: dict[str, Any] = {key: np.full((28, 28, 3), 30 * place, np.uint8) for place, key in enumerate(expected)}
    keys = ModelSpec(history=(4, 8)).picture_keys
    batch = Collator(make_tiny_processor(), image_keys=keys, num_slots=1).robot([sample | {TASK_KEY: "go"}])
    brightness = batch["pixel_values"].reshape(6, -1).mean(dim=1)
    assert (brightness.diff() > 0).all(), "each picture is brighter than the one before it"


def make(folder: Path, **spec: Any) -> VLAModel:
    torch.manual_seed(0)
    stats = RobotDataset(folder, chunk=4).norm_stats
    return VLAModel(load_backbone("tiny"), spec=ModelSpec(head=PARALLEL, image_size=SIZE, **spec), norm_stats=stats)


def test_every_picture_slot_has_a_vector_and_counts(robot_folder: Path) -> None:
    model = make(robot_folder, history=(3,)).eval()
    assert model.head is not None
    for weights in model.head.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    assert model.camera_embedding is not None
    assert model.camera_embedding.shape == (4, 192)
    data = RobotDataset(robot_folder, chunk=4, history=(3,))
    pipeline = InferencePipeline(model)
    batch = pipeline.inputs([data[5], data[6]])
    assert batch["image_grid_thw"].shape == (8, 3)
    before = model.predict(batch)
    for slot in range(4):
        changed = batch["pixel_values"].clone()
        changed.view(2, 4, -1)[:, slot] = 0
        moved = model.predict({**batch, "pixel_values": changed})
        with torch.no_grad():
            model.camera_embedding[slot] += 1.0
        assert (moved - before).abs().max() > 1e-6
        assert (model.predict(batch) - before).abs().max() > 1e-6
        with torch.no_grad():
            model.camera_embedding[slot] -= 1.0


def test_without_its_past_a_sample_is_refused_by_key(robot_folder: Path) -> None:
    pipeline = InferencePipeline(make(robot_folder, history=(3,)))
    with pytest.raises(ValueError, match=r"observation has no 'observation.images.image.before3', expected") as caught:
        pipeline.inputs([RobotDataset(robot_folder, chunk=4)[5]])
    assert "\n" not in str(caught.value)


def test_checkpoints_keep_it_and_older_ones_have_none(robot_folder: Path, tmp_path: Path) -> None:
    make(robot_folder, history=(2, 6)).save(tmp_path / "with")
    loaded = VLAModel.load(tmp_path / "with")
    assert loaded.spec is not None
    assert loaded.spec.history == (2, 6)
    make(robot_folder).save(tmp_path / "without")
    assert "history" not in json.loads((tmp_path / "without" / "vst_vla.json").read_text()), "as it was before"
    plain = VLAModel.load(tmp_path / "without")
    assert plain.spec is not None
    assert plain.spec.history == ()
    content = json.loads((tmp_path / "with" / "vst_vla.json").read_text()) | {"history": [2]}
    (tmp_path / "with" / "vst_vla.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"shape \(6, 192\) for 'camera_embedding', expected \(4, 192\)"):
        VLAModel.load(tmp_path / "with")


def test_a_run_from_before_there_was_a_history_goes_on(learning_data: ModuleType, tmp_path: Path) -> None:
    settings = settings_of(learning_data.small_recipe())
    before = {"recipe": {key: value for key, value in settings["recipe"].items() if key != "history"}}
    claim_run(tmp_path, before, out=tmp_path, advice="")
    claim_run(tmp_path, settings, out=tmp_path, advice="")
    other = settings_of(learning_data.small_recipe(history=(8,)))
    with pytest.raises(ValueError, match=r"a run with recipe.history=None, this one has \[8\]"):
        claim_run(tmp_path, other, out=tmp_path, advice="")


def test_past_visual_tokens_are_taught_too(learning_data: ModuleType, labelled_folder: Path) -> None:
    recipe = learning_data.small_recipe(readout_weight=1.0, alignment_weight=0.5, history=(3,))
    data = RobotDataset(labelled_folder, chunk=4, geometry=True, history=recipe.history)
    np.testing.assert_array_equal(data[7]["geometry.image.before3"], data[4][geometry_key(IMAGE_KEY)])
    model = build_network(recipe, backbone="tiny", head=PARALLEL, data=data, seed=0)
    assert model.spec is not None
    assert model.head is not None
    steps = build_transforms(model.spec, stats=data.norm_stats)
    collator = Collator(model.processor, image_keys=model.spec.picture_keys, num_slots=model.head.num_slots)
    batch = collator.robot([apply(steps, data[index], rng=np.random.default_rng(index)) for index in (2, 7)])
    assert batch["cells"].shape[:2] == (2, 4)
    losses = model(batches={"robot": batch})
    assert losses.keys() == {"robot", "readouts", "alignment"}
    assert all(torch.isfinite(each["loss"]) for each in losses.values())


def write_echoes(folder: Path, learning_data: ModuleType) -> Path:
    """Pictures dark or bright at random; the action moves by what was shown two frames before, and by nothing else."""
    rng = np.random.default_rng(3)
    episodes = []
    for _ in range(3):
        bright = rng.random(16) < 0.5
        shown = [learning_data.png(np.full((32, 32, 3), 230 if b else 20, np.uint8)) for b in bright]
        actions = np.tile(np.array(STILL_ACTION, np.float32), (16, 1))
        actions[:, 0] = np.where(bright[np.maximum(np.arange(16) - 2, 0)], 0.8, -0.8)
        vectors = {STATE_KEY: rng.normal(size=(16, 8)).astype(np.float32), ACTION_KEY: actions}
        episodes.append(Episode(task="say it again", vectors=vectors, images=dict.fromkeys(IMAGE_KEYS, shown)))
    write_dataset(folder, episodes, fps=20, robot_type="panda", names=learning_data.NAMES)
    return folder


def test_a_policy_learns_what_only_the_past_shows(learning_data: ModuleType, tmp_path: Path) -> None:
    recipe = learning_data.small_recipe(
        steps=20, batch_size=8, image_size=28, history=(2,), learning_rate=2e-3, save_every=100
    )
    folder = train(
        tmp_path / "run",
        recipe=recipe,
        head={"name": "parallel", "chunk": 1},
        robot=write_echoes(tmp_path / "data", learning_data),
    )
    model = VLAModel.load(folder)
    pipeline = InferencePipeline(model)
    moved = {}
    for then in (20, 230):
        for now in (20, 230):
            seen = {key: np.full((32, 32, 3), now, np.uint8) for key in IMAGE_KEYS}
            past = {f"{key}.before2": np.full((32, 32, 3), then, np.uint8) for key in IMAGE_KEYS}
            observation = {**seen, **past, STATE_KEY: np.zeros(8, np.float32), TASK_KEY: "say it again"}
            moved[then, now] = float(pipeline.actions(model.predict(pipeline.inputs([observation])))[0][0, 0])
    for now in (20, 230):
        assert moved[230, now] - moved[20, now] > 0.4, moved
