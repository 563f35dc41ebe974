"""Names in instructions: found where they end, bound to the cells that show what they mean, and learnt."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from vst_vla.vla.contracts import IMAGE_KEYS
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.geometry.pointing import named_cells
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.network import build_network
from vst_vla.vla.train.run import train
from vst_vla.vla.transforms import apply, build_transforms

CLASSES = ("background", "ketchup", "alphabet soup", "basket")
TASK = "Pick up the alphabet soup and place it in the basket"
NAMES = {"pointing_weight": 1.0, "gaze_weight": 1.0}
HEADS: list[dict[str, Any]] = [
    {"name": "parallel", "chunk": 4},
    {"name": "tokens", "chunk": 4},
    {"name": "flow", "chunk": 4, "backbone_gradient": 0.0},
]


@pytest.fixture(scope="module")
def folder(learning_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = learning_data.write_labelled_data(tmp_path_factory.mktemp("named") / "data", classes=CLASSES, task=TASK)
    return out


def make(learning_data: ModuleType, folder: Path, head: dict[str, Any]) -> tuple[VLAModel, RobotDataset, Batch]:
    """A fresh policy whose names are taught, its data, and a batch of two frames without augmentation."""
    torch.manual_seed(0)
    data = RobotDataset(folder, chunk=4, geometry=True)
    model = build_network(learning_data.small_recipe(**NAMES), backbone="tiny", head=head, data=data, seed=0)
    assert model.spec is not None
    assert model.head is not None
    transforms = build_transforms(model.spec, stats=data.norm_stats)
    slots = model.head.num_slots
    collator = Collator(model.processor, image_keys=IMAGE_KEYS, num_slots=slots, classes=data.classes)
    return model, data, collator.robot([apply(transforms, data[index]) for index in range(2)])


def test_names_are_found_at_their_last_tokens_of_every_row(learning_data: ModuleType, folder: Path) -> None:
    model, data, batch = make(learning_data, folder, HEADS[0])
    length = batch["input_ids"].shape[1]
    found = [(place // length, place % length, data.classes[number]) for place, number in batch["named"].tolist()]
    assert [(row, name) for row, _, name in found] == [
        (row, name) for row in (0, 1) for name in ("alphabet soup", "basket")
    ]
    for row, place, name in found:
        text = model.processor.tokenizer.decode(batch["input_ids"][row, : place + 1])
        assert text.endswith(f"the {name}")


def test_a_name_means_the_cells_of_its_own_row_that_show_it() -> None:
    """Two rows of two tokens with two cells each; the third name is of nothing in view."""
    classes = torch.tensor([[1, 2], [2, 0], [0, 0], [1, 1]])
    named = torch.tensor([[3, 2], [13, 1], [14, 2]])
    found = named_cells(named, classes, shape=torch.Size((2, 10)))
    assert found["mentions"].tolist() == [[3, 0, 2, 1], [13, 2, 4, 1]]
    assert found["meant"].tolist() == [[0, 1], [0, 2], [1, 6], [1, 7]]
    assert named_cells(named[2:], classes, shape=torch.Size((2, 10))) == {}
    assert named_cells(named[:0], classes, shape=torch.Size((2, 10))) == {}


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head["name"])
def test_names_learn_to_point_and_to_look_at_what_they_mean(
    learning_data: ModuleType, folder: Path, head: dict[str, Any]
) -> None:
    model, _, batch = make(learning_data, folder, head)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first: dict[str, Any] = {}
    for _ in range(40):
        losses = model(batches={"robot": batch})
        first = first or losses
        optimizer.zero_grad()
        sum(output["loss"] for output in losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert first.keys() == {"robot", "pointing", "gaze"}
    assert losses["pointing"].keys() == {"loss", "hit", "place_error"}
    assert losses["pointing"]["loss"] < 0.8 * first["pointing"]["loss"], (first, losses)
    assert losses["pointing"]["place_error"] < 0.5 * first["pointing"]["place_error"], losses
    assert losses["gaze"]["share"] > max(0.8, 2 * first["gaze"]["share"]), (first, losses)


def test_a_run_teaches_names_and_refuses_data_without_labels(
    learning_data: ModuleType, folder: Path, robot_folder: Path, tmp_path: Path
) -> None:
    recipe = learning_data.small_recipe(**NAMES, steps=2)
    model = VLAModel.load(train(tmp_path / "a", recipe=recipe, head=HEADS[0], robot=folder))
    assert model.supervision is None
    with pytest.raises(ValueError, match=r"no labels 'geometry.image' .* `vst-vla demos geometry=true`, or"):
        train(tmp_path / "b", recipe=recipe, head=HEADS[0], robot=robot_folder)
