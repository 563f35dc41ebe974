"""What visual tokens are taught beside conversations: the labels' place, the losses, and what cannot be taught."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.data.picture_labels import LabelTable, scan_labels
from vst_vla.vla.data.questions import QuestionRows
from vst_vla.vla.data.records import write_records
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.geometry.cells import by_token
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.network import build_network
from vst_vla.vla.train.run import train
from vst_vla.vla.train.trainer import latest_checkpoint

LESSONS = {"readout_weight": 2.0, "alignment_weight": 0.5}


@pytest.fixture(scope="module")
def folder(learning_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = learning_data.write_labelled_questions(tmp_path_factory.mktemp("labelled_questions"))
    return made


@pytest.fixture(scope="module")
def table(folder: Path) -> LabelTable:
    return scan_labels([folder], picture_tokens=2)


@pytest.fixture(scope="module")
def records(folder: Path) -> list[dict[str, Any]]:
    rows = QuestionRows(folder, fov=FovTarget(), max_pixels=56 * 56)
    return [rows[place] for place in (0, 6, 1, 7, 8)]


def test_names_have_one_number_however_a_record_counts_them(table: LabelTable, records: list[dict[str, Any]]) -> None:
    assert set(table.classes) == {"background", "red", "green", "blue"}
    assert (table.classes[0], table.side, table.each) == ("background", 4, 2)
    assert table.read(records[0]) is None
    halves = [[table.classes[found[0, column, 0]] for column in (0, 3)] for found in map(table.read, records[1::2])]
    assert halves == [["red", "green"], ["blue", "red"]]


def losses(model: VLAModel, batch: Batch) -> dict[str, dict[str, torch.Tensor]]:
    found: dict[str, dict[str, torch.Tensor]] = model(batches={"spatial": batch})
    return found


def test_labels_are_held_against_their_own_pictures_tokens_packed_or_padded(
    learning_data: ModuleType, table: LabelTable, records: list[dict[str, Any]]
) -> None:
    """Other pictures stand before, between and behind the labelled ones."""
    torch.manual_seed(0)
    recipe = learning_data.small_recipe(**LESSONS)
    model = build_network(recipe, backbone="tiny", head=None, data=None, labels=table, seed=0).eval()
    collator = Collator(model.processor, labels=table)
    padded, packed = collator.questions(records), collator.pack(records)
    for batch in (padded, packed):
        assert batch["cells"].shape == (3, 1, 4, 4, 5)
        assert len(batch["cell_tokens"]) == len(by_token(batch["cells"], each=2).classes) == 3 * 4
        ids = batch["input_ids"].flatten()[batch["cell_tokens"]]
        assert (ids == model.config.image_token_id).all()
    ours, theirs = losses(model, packed), losses(model, padded)
    assert ours.keys() == theirs.keys() == {"spatial", "readouts", "alignment"}
    for name, found in ours.items():
        torch.testing.assert_close(found["loss"], theirs[name]["loss"], atol=1e-5, rtol=1e-5)
    alone = [losses(model, collator.questions([record]))["readouts"]["depth_error"] for record in records[1::2]]
    both = losses(model, collator.questions(records[1:4]))["readouts"]["depth_error"]
    assert min(alone) < both < max(alone)
    assert losses(model, collator.questions([records[0]])).keys() == {"spatial"}, "without labels, words alone"


def test_a_run_learns_what_its_pictures_show_and_leaves_nothing_of_it_behind(
    learning_data: ModuleType, folder: Path, tmp_path: Path
) -> None:
    recipe = learning_data.small_recipe(**LESSONS, steps=40, save_every=40, pack_tokens=300, learning_rate=3e-3)
    train(tmp_path, recipe=recipe, spatial=folder)
    newest = latest_checkpoint(tmp_path / "run")
    assert newest is not None
    lines = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    first = lines[0]
    weighed = first["spatial/loss"] + 2 * first["readouts/loss"] + 0.5 * first["alignment/loss"]
    assert first["loss"] == pytest.approx(weighed, rel=1e-3)
    before, after = (np.mean([line["readouts/class_accuracy"] for line in part]) for part in (lines[:3], lines[-4:-1]))
    assert after > 0.9 > before
    assert VLAModel(load_backbone(str(tmp_path / "model"))).supervision is None


def test_labels_that_do_not_fit_are_refused(
    learning_data: ModuleType, folder: Path, table: LabelTable, records: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="labels of 4 cells a side cannot be shared by 3 visual tokens"):
        scan_labels([folder], picture_tokens=3)
    with pytest.raises(
        ValueError, match="record 'labelled-0' has 4 visual tokens, its labels are for one picture of 16"
    ):
        Collator(load_backbone("tiny").processor, labels=scan_labels([folder], picture_tokens=4)).questions(records)
    rows = pq.read_table(folder / "part-00001.parquet").to_pylist()
    meta = json.loads(rows[0]["meta_info"])
    meta[0]["cells"]["numbers"].pop()
    write_records(tmp_path / "bad" / "part.parquet", records=[rows[0] | {"meta_info": json.dumps(meta)}])
    with pytest.raises(ValueError, match="record 'labelled-0' has 79 numbers for 4 cells a side, expected 80 for 4"):
        table.read(QuestionRows(tmp_path / "bad", fov=FovTarget(), max_pixels=56 * 56)[0])
