"""What visual tokens are taught about space: registered labels, losses that fall, and nothing of it in acting."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from vst_vla.vla.contracts import IMAGE_KEY, IMAGE_KEYS, geometry_key
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.data.robot import ReaderOptions, RobotDataset
from vst_vla.vla.geometry.alignment import encode_points
from vst_vla.vla.geometry.cells import by_token, cells_a_side, cells_a_token
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.network import build_network
from vst_vla.vla.train.run import train
from vst_vla.vla.train.trainer import latest_checkpoint
from vst_vla.vla.transforms import CropResize, apply, build_transforms

PARALLEL: dict[str, Any] = {"name": "parallel", "chunk": 4}
INSULATED: dict[str, Any] = {"name": "flow", "chunk": 4, "backbone_gradient": 0.0}
BOTH = {"readout_weight": 1.0, "alignment_weight": 0.5}


def make(
    learning_data: ModuleType, folder: Path, head: dict[str, Any], **settings: Any
) -> tuple[VLAModel, dict[str, Batch]]:
    """A fresh policy with lessons, and a batch of two frames as training makes it, without augmentation."""
    torch.manual_seed(0)
    recipe = learning_data.small_recipe(**(BOTH | settings))
    data = RobotDataset(folder, chunk=4, geometry=bool(recipe.lessons))
    model = build_network(recipe, backbone="tiny", head=head, data=data, seed=0)
    assert model.spec is not None
    assert model.head is not None
    transforms = build_transforms(model.spec, stats=data.norm_stats)
    collator = Collator(model.processor, image_keys=IMAGE_KEYS, num_slots=model.head.num_slots)
    return model, {"robot": collator.robot([apply(transforms, data[index]) for index in range(2)])}


def test_labels_stay_on_their_pictures_under_any_crop() -> None:
    """The picture's colours are its own coordinates: every label must name those under its cell's centre."""
    row, column = np.indices((256, 256))
    picture = np.stack([column, row, column], axis=-1).astype(np.uint8)
    middle = (np.indices((32, 32)) * 8 + 4).astype(np.int16)  # px
    labels = np.stack([middle[1], middle[0], middle[1], middle[0], middle[1]], axis=-1)
    crop = CropResize(keys=(IMAGE_KEY,), size=112, fraction=0.6, cells=cells_a_side(112))
    sample = {IMAGE_KEY: picture, geometry_key(IMAGE_KEY): labels}
    corners = []
    for seed in (None, *range(20)):
        cropped = crop(sample, None if seed is None else np.random.default_rng(seed))
        places = ((np.arange(32) + 0.5) * 3.5).astype(int)
        seen = cropped[IMAGE_KEY][places[:, None], places][..., :2].astype(int)
        found = cropped[geometry_key(IMAGE_KEY)][..., :2]
        assert np.abs(seen - found).max() <= 4 + 2, "half a cell, and a pixel's rounding"
        corners.append(found[0, 0])
    assert np.ptp(corners, axis=0).min() > 50, "the crops differ"
    np.testing.assert_array_equal(labels, sample[geometry_key(IMAGE_KEY)])


def test_cells_are_gathered_by_token_in_the_tokens_order() -> None:
    row, column = np.indices((6, 6))
    labels = torch.tensor(np.stack([row, 1000 * (column + 1), row, column, row], -1))[None, None].repeat(2, 3, 1, 1, 1)
    cells = by_token(labels.short(), each=2)
    assert cells.classes.shape == (2 * 3 * 9, 4)
    assert cells.classes[5].tolist() == [2, 2, 3, 3], "the sixth token: second row, last column"
    assert cells.depth[5].tolist() == [5, 6, 5, 6]
    assert torch.equal(cells.classes[:9], cells.classes[9:18])
    assert [(cells_a_token(size), cells_a_side(size)) for size in (112, 252, 28, 1120)] == [
        (8, 32),
        (3, 27),
        (32, 32),
        (1, 40),
    ]


def test_an_encoding_tells_points_apart_by_their_distance() -> None:
    points = torch.tensor([[0.0, 0.0, 0.9], [0.01, 0.0, 0.9], [0.3, 0.2, 0.9]])
    near, far = torch.nn.functional.cosine_similarity(encode_points(points[:1]), encode_points(points[1:]))
    assert near > 0.95
    assert far < near - 0.2


def test_both_losses_fall_and_the_readouts_find_the_objects(learning_data: ModuleType, labelled_folder: Path) -> None:
    model, batches = make(learning_data, labelled_folder, PARALLEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first: dict[str, Any] = {}
    for _ in range(40):
        losses = model(batches=batches)
        first = first or losses
        optimizer.zero_grad()
        sum(output["loss"] for output in losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for name, share in (("readouts", 0.4), ("alignment", 0.3)):
        assert losses[name]["loss"] < share * first[name]["loss"], losses
    assert losses["readouts"]["class_accuracy"] > first["readouts"]["class_accuracy"] + 0.1, losses
    assert max(losses["readouts"]["point_error"], losses["readouts"]["depth_error"]) < 0.15, losses


@pytest.mark.parametrize("lesson", ["readouts", "alignment"])
@pytest.mark.parametrize(("head", "depth", "passes"), [(PARALLEL, 0.75, 1), (PARALLEL, 0.0, 1), (INSULATED, 0.75, 2)])
def test_gradients_reach_the_backbone_up_to_the_layer_that_is_taught(
    learning_data: ModuleType,
    labelled_folder: Path,
    head: dict[str, Any],
    depth: float,
    passes: int,
    lesson: str,
) -> None:
    """With one pass of the backbone; under insulation, whose own pass sends no gradient back, with a second."""
    model, batches = make(learning_data, labelled_folder, head, geometry_depth=depth)
    calls = []
    model.vlm.model.language_model.register_forward_hook(lambda *_: calls.append(1))
    model(batches=batches)[lesson]["loss"].backward()
    assert len(calls) == passes
    layers = [layer.mlp.gate_proj.weight.grad for layer in model.vlm.model.language_model.layers]
    taught = round(depth * len(layers))
    assert [grad is not None and bool(grad.abs().sum() > 0) for grad in layers] == [i < taught for i in range(4)]
    assert model.vlm.model.visual.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_lessons_change_neither_the_head_loss_nor_what_is_saved(
    learning_data: ModuleType, labelled_folder: Path, tmp_path: Path
) -> None:
    taught, batches = make(learning_data, labelled_folder, PARALLEL)
    plain, other = make(learning_data, labelled_folder, PARALLEL, readout_weight=0.0, alignment_weight=0.0)
    assert plain.supervision is None
    assert "cells" not in other["robot"]
    assert torch.equal(taught(batches=batches)["robot"]["loss"], plain(batches=other)["robot"]["loss"])
    calls = []
    taught.vlm.model.language_model.layers[2].register_forward_hook(lambda *_: calls.append(1))
    expected = taught.eval().predict(other["robot"])
    assert len(calls) == 1
    for name, model in (("taught", taught), ("plain", plain)):
        model.save(tmp_path / name)
        loaded = VLAModel.load(tmp_path / name)
        assert loaded.supervision is None
        assert torch.equal(loaded.predict(other["robot"]), expected)
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("taught", "plain")]
    assert files[0] == files[1]
    assert (tmp_path / "taught" / "head.safetensors").read_bytes() == (
        tmp_path / "plain" / "head.safetensors"
    ).read_bytes()


def test_a_run_weighs_and_logs_every_loss(
    learning_data: ModuleType, labelled_folder: Path, question_folder: Path, tmp_path: Path
) -> None:
    recipe = learning_data.small_recipe(**BOTH, steps=2, gradient_checkpointing=True)
    train(tmp_path, recipe=recipe, head=PARALLEL, robot=labelled_folder, spatial=question_folder)
    newest = latest_checkpoint(tmp_path / "run")
    assert newest is not None
    line = json.loads((newest / "trainer_state.json").read_text())["log_history"][0]
    losses = [line[f"{name}/loss"] for name in ("robot", "spatial", "readouts", "alignment")]
    assert line["loss"] == pytest.approx(losses[0] + losses[1] + losses[2] + 0.5 * losses[3], rel=1e-3)
    assert {"readouts/class_accuracy", "readouts/point_error", "alignment/cosine"} <= line.keys()
    assert VLAModel.load(tmp_path / "model").supervision is None


def test_labels_are_read_as_they_were_written_cached_or_not(learning_data: ModuleType, labelled_folder: Path) -> None:
    cached = RobotDataset(labelled_folder, chunk=2, geometry=True)
    plain = RobotDataset(labelled_folder, chunk=2, geometry=True, options=ReaderOptions(cache_gib=0))
    for index in (0, 7):
        labels = cached[index]["geometry.image2"]
        np.testing.assert_array_equal(labels, plain[index]["geometry.image2"])
        colours = learning_data.COLOURS[labels[..., 0]].repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(colours, cached[index]["observation.images.image2"])


def test_several_datasets_share_one_list_of_classes(
    learning_data: ModuleType, labelled_folder: Path, tmp_path: Path
) -> None:
    other = learning_data.write_labelled_data(tmp_path / "other", classes=("background", "blue", "black"))
    both = RobotDataset([labelled_folder, other], chunk=2, geometry=True)
    assert both.classes == ("background", "red", "green", "blue", "black")
    assert set(np.unique(both[0]["geometry.image"][..., 0])) <= {0, 1, 2, 3}
    assert set(np.unique(both[8]["geometry.image"][..., 0])) == {0, 3, 4}


def test_what_cannot_be_taught_is_refused(
    learning_data: ModuleType, robot_folder: Path, labelled_folder: Path, question_folder: Path, tmp_path: Path
) -> None:
    recipe = learning_data.small_recipe(**BOTH)
    with pytest.raises(ValueError, match=r"no labels 'geometry.image' .* `vst-vla demos geometry=true`, or") as caught:
        train(tmp_path / "a", recipe=recipe, head=PARALLEL, robot=robot_folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"no picture in .* has labels of what it shows: make some with `vst-vla qa"):
        train(tmp_path / "b", recipe=recipe, spatial=question_folder)
    unnamed = shutil.copytree(labelled_folder, tmp_path / "unnamed")
    (unnamed / "meta" / "vst_vla.json").unlink()
    with pytest.raises(ValueError, match=r"meta/vst_vla.json names no classes of the labels"):
        RobotDataset(unnamed, chunk=4, geometry=True)
    info = json.loads((unnamed / "meta" / "info.json").read_text())
    info["features"]["geometry.image"]["shape"] = [32, 32, 3]
    (unnamed / "meta" / "info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"geometry.image is int16 \(32, 32, 3\), expected int16 \(rows, columns, 5\)"):
        RobotDataset(unnamed, chunk=4, geometry=True)
    with pytest.raises(ValueError, match=r"recipe.readout_weight is -1, expected 0 or more"):
        learning_data.small_recipe(readout_weight=-1)
    with pytest.raises(ValueError, match=r"recipe.geometry_depth is 1.5, expected 0 to 1: try 0.75"):
        learning_data.small_recipe(geometry_depth=1.5)
