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

from vst_vla.vla.backbone import load_backbone, use_attention
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.data.labeller import MARKS
from vst_vla.vla.data.picture_labels import EACH, LabelTable, scan_labels, token_labels
from vst_vla.vla.data.questions import QuestionRows
from vst_vla.vla.data.records import write_records
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.geometry.cells import to_cells
from vst_vla.vla.geometry.pointing import Pointing, shown_cells
from vst_vla.vla.geometry.readouts import Readouts
from vst_vla.vla.geometry.supervision import Supervision
from vst_vla.vla.memory import recorded
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.network import build_network
from vst_vla.vla.train.run import train
from vst_vla.vla.train.trainer import latest_checkpoint

LESSONS = {
    "readout_weight": 2.0,
    "alignment_weight": 0.5,
    "pointing_weight": 1.0,
    "gaze_weight": 0.25,
    "recall_weight": 0.125,
}


@pytest.fixture(scope="module")
def folder(learning_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = learning_data.write_labelled_questions(tmp_path_factory.mktemp("labelled_questions"))
    return made


@pytest.fixture(scope="module")
def table(folder: Path) -> LabelTable:
    return scan_labels([folder])


@pytest.fixture(scope="module")
def records(folder: Path) -> list[dict[str, Any]]:
    """Without labels, with, without, two pictures with, with."""
    rows = QuestionRows(folder, fov=FovTarget(), max_pixels=56 * 56)
    return [rows[place] for place in (0, 6, 1, 7, 8)]


def test_names_have_one_number_however_a_record_counts_them(table: LabelTable, records: list[dict[str, Any]]) -> None:
    assert set(table.classes) == {"background", "red", "green", "blue"}
    assert table.read(records[0]) is None
    one, two = table.read(records[1]), table.read(records[3])
    assert one is not None
    assert two is not None
    assert (len(one), len(two)) == (1, 2)
    halves = [[table.classes[found[0, column, 0]] for column in (0, 3)] for found in (*one, *two)]
    assert halves == [["red", "green"], ["blue", "red"], ["blue", "red"]]


@pytest.mark.parametrize("grid", [(2, 2), (4, 4), (3, 3), (2, 6), (9, 9)])
def test_a_token_is_asked_about_the_labels_under_its_own_cells(grid: tuple[int, int]) -> None:
    """The labels are their own coordinates: those of a token's cells lie within half a label of the cells' centres."""
    row, column = np.indices((8, 8))
    labels = np.stack([row, column, row, column, row], axis=-1).astype(np.int16)
    found = token_labels(labels, grid=grid)
    assert found.shape == (grid[0] * grid[1], EACH**2, 5)
    for token, cells in enumerate(found):
        for cell, label in enumerate(cells):
            down, right = token // grid[1] + (cell // EACH + 0.5) / EACH, token % grid[1] + (cell % EACH + 0.5) / EACH
            assert abs(label[0] + 0.5 - down * 8 / grid[0]) <= 0.5
            assert abs(label[1] + 0.5 - right * 8 / grid[1]) <= 0.5


@pytest.fixture(scope="module")
def network() -> VLAModel:
    return VLAModel(load_backbone("tiny"))


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
        assert batch["token_cells"].shape == (4 * 4, EACH**2, 5)
        ids = batch["input_ids"].flatten()[batch["cell_tokens"]]
        assert len(ids) == 4 * 4
        assert (ids == model.config.image_token_id).all()
        colours = batch["token_cells"][::2, 0, 0].tolist()  # of the left half, upper and lower
        assert [table.classes[colour] for colour in colours] == ["red"] * 2 + ["blue"] * 4 + ["green"] * 2
    ours, theirs = losses(model, packed), losses(model, padded)
    assert ours.keys() == theirs.keys() == {"spatial", "readouts", "alignment", "pointing", "gaze", "recall"}
    for name, found in ours.items():
        torch.testing.assert_close(found["loss"], theirs[name]["loss"], atol=1e-5, rtol=1e-5)
    alone = [losses(model, collator.questions([record]))["readouts"]["depth_error"] for record in records[1::2]]
    both = losses(model, collator.questions(records[1:4]))["readouts"]["depth_error"]
    assert min(alone) < both < max(alone)
    assert losses(model, collator.questions([records[0]])).keys() == {"spatial"}, "without labels, words alone"


def test_names_in_a_question_are_held_against_the_tokens_of_their_own_pictures(
    network: VLAModel, table: LabelTable, records: list[dict[str, Any]]
) -> None:
    """Names in replies, which would give the answer away, do not point; nor do those of what is not in the picture."""
    collator = Collator(network.processor, labels=table)
    for batch in (collator.questions(records), collator.pack(records)):
        ids, mentions = batch["input_ids"].flatten(), batch["mentions"].tolist()
        words = [network.processor.tokenizer.decode(ids[place - 4 : place + 1]) for place, *_ in mentions]
        classes = batch["token_cells"][..., 0].flatten()
        means = [set(classes[batch["meant"][batch["meant"][:, 0] == number, 1]].tolist()) for number in range(3)]
        names = [table.classes[number] for (number,) in means]
        assert names == ["red", "blue", "green"]
        assert all(word.endswith(f"the {name}") for word, name in zip(words, names, strict=True))
        assert [span for _, *span in mentions] == [[0, 4, 1], [4, 12, 2], [12, 16, 1]]


def test_coloured_points_mean_the_cell_that_they_are_drawn_on(
    network: VLAModel, table: LabelTable, records: list[dict[str, Any]]
) -> None:
    """In either picture, by their place in the picture as it was drawn, which may have had another size."""
    record = json.loads(json.dumps({**records[3], "images": None})) | {"images": records[3]["images"]}
    for entry in record["meta_info"]:
        entry |= {"width": 112, "height": 112}
    record["meta_info"][0]["marks"] = [["magenta", 90, 10, 0], ["yellow", 5, 100, 1], ["A", 5, 5, 1]]
    record["conversations"][0]["value"] += " And the magenta-point box, the yellow point?"
    batch = Collator(network.processor, labels=table).questions([record])
    ids, mentions = batch["input_ids"][0], batch["mentions"].tolist()
    words = [network.processor.tokenizer.decode(ids[place - 9 : place + 1]) for place, *_ in mentions[-2:]]
    assert [" ".join(text.replace("-", " ").split()[-2:]) for text in words] == ["magenta point", "yellow point"]
    pairs = [pair for pair in batch["meant"].tolist() if pair[0] >= len(mentions) - 2]
    assert pairs == [[len(mentions) - 2, 2 * 4 + 2], [len(mentions) - 1, (4 + 1) * 4 + 1]]


def test_cells_have_their_place_in_the_robot_s_axes_and_the_point_drawn_on_them(
    network: VLAModel, table: LabelTable, records: list[dict[str, Any]]
) -> None:
    record = json.loads(json.dumps({**records[3], "images": None})) | {"images": records[3]["images"]}
    record["meta_info"][0]["marks"] = [["B", 50, 10, 0], ["circle", 5, 55, 1], ["heart", 30, 30, 1], ["2", 5, 5, 0]]
    record["conversations"][0]["value"] += " Order the points A, B. Which of point-1, point-2 is the circled point?"
    batch = Collator(network.processor, labels=table).questions([records[1], record])
    cells = to_cells(batch["token_cells"], poses=batch["token_poses"], marks=batch["token_marks"])
    assert cells.placed is not None
    assert cells.marks is not None
    moved = [torch.tensor([number, 2.0, 3.0]) for number in [0.0] * 4 + [1.0] * 8]  # of records 0 and 1
    for points, placed, off in zip(cells.points, cells.placed, moved, strict=True):
        turned = torch.stack([points[:, 2], -points[:, 0], -points[:, 1]], dim=1)
        torch.testing.assert_close(placed, turned + off)
    drawn = [(place, MARKS[number]) for place, number in enumerate(cells.marks.flatten().tolist()) if number]
    assert drawn == [(4 * 4, "2"), ((4 + 2) * 4 + 2, "B"), ((8 + 1) * 4 + 1, "circle")]
    ids = batch["input_ids"].flatten()
    words = [network.processor.tokenizer.decode(ids[place - 4 : place + 1]) for place, *_ in batch["mentions"].tolist()]
    assert [text.split()[-1] for text in words[-3:]] == ["B", "point", "point-2"], "A and 1 are not drawn"


def test_readouts_are_asked_for_places_and_points_of_conversations_alone() -> None:
    torch.manual_seed(0)
    numbers = torch.tensor([[[1, 500, 100, 0, 500]], [[2, 9000, 0, 0, 9000]]]).to(torch.int16)
    poses = torch.eye(3, 4).repeat(2, 1, 1)
    poses[:, 0, 3] = 1.0
    cells = to_cells(numbers, poses=poses, marks=torch.tensor([[3], [0]]))
    states = torch.randn(2, 8)
    for num_marks in (0, 5):
        readouts = Readouts(hidden_dim=8, num_classes=3, each=1, num_marks=num_marks)
        found = readouts(states, cells)
        _, depth, points, *others = readouts.read(states)
        near = (points[0, 0] - cells.points[0, 0]).abs().mean()
        torch.testing.assert_close(found["point_error"], near.detach())
        assert len(others) == (2 if num_marks else 0)
        if others:
            error = (others[0][0, 0] - torch.tensor([1.1, 0.0, 0.5])).abs().mean()
            torch.testing.assert_close(found["place_error"], error.detach())
            rows = others[1][:, 0]
            right = float(((rows.argmax(1) == torch.tensor([3, 0])).float() * 0.5).sum())
            assert found["mark_accuracy"] == pytest.approx(right)
    assert depth.shape == (2, 1, 1)


def test_where_a_name_points_is_compared_with_where_its_object_is() -> None:
    """Two questions of two tokens each; the second one's tokens are no rivals of the first one's."""
    torch.manual_seed(0)
    pointing = Pointing(hidden_dim=8)
    numbers = torch.zeros(4, 1, 5, dtype=torch.int16)
    numbers[:, 0, 0] = torch.tensor([1, 2, 2, 1])
    states, named = torch.randn(4, 8), torch.randn(2, 8)
    given = {"named": named, "mentions": torch.tensor([[0, 0, 2, 1], [0, 2, 4, 2]])}
    given["meant"] = torch.tensor([[0, 0], [1, 3]])
    given["shown"] = shown_cells(given["meant"], num_names=2, num_tokens=4, each=1)
    found = pointing(states, to_cells(numbers, poses=torch.eye(3, 4).repeat(4, 1, 1)), **given)
    scores = pointing.names(named) @ pointing.tokens(states).T / 8
    expected = -(scores[0, :2].log_softmax(0)[0] + scores[1, 2:].log_softmax(0)[1]) / 2
    torch.testing.assert_close(found["loss"], expected)
    assert found["hit"] == (float(scores[0, 0] > scores[0, 1]) + float(scores[1, 3] > scores[1, 2])) / 2
    found["loss"].backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in pointing.parameters())


def test_a_name_is_asked_where_its_object_is() -> None:
    """The middle of the cells that show it, walls beyond reach left out; of two pictures in the robot's axes alone."""
    torch.manual_seed(0)
    pointing = Pointing(hidden_dim=8)
    numbers = torch.tensor(
        [[[1, 500, 100, 0, 500]], [[1, 700, 300, 200, 700]], [[1, 9000, 0, 0, 9000]], [[2, 400, 0, 0, 400]]]
    ).to(torch.int16)
    named = torch.randn(3, 8)
    mentions = torch.tensor([[0, 0, 4, 1], [0, 0, 4, 2], [0, 2, 3, 1]])
    meant = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 3], [2, 2]])
    poses = torch.eye(3, 4).repeat(4, 1, 1)
    poses[:, 2, 3] = -0.5
    given = {"named": named, "mentions": mentions, "meant": meant}
    given["shown"] = shown_cells(meant, num_names=3, num_tokens=4, each=1)
    found = pointing(torch.randn(4, 8), to_cells(numbers, poses=poses), **given)
    said = pointing.place(named[:2])
    seen = (said[:1, 3:] - torch.tensor([[0.2, 0.1, 0.6]])).abs().mean()
    torch.testing.assert_close(found["seen_error"], seen.detach())
    placed = (said[:, :3] - torch.tensor([[0.2, 0.1, 0.1], [0.0, 0.0, -0.1]])).abs().mean()
    torch.testing.assert_close(found["place_error"], placed.detach())


def test_names_learn_to_attend_to_what_they_mean_by_the_network_s_own_attention(
    network: VLAModel, table: LabelTable, records: list[dict[str, Any]]
) -> None:
    """The share is that of the layer's attention weights as transformers computes them."""
    text = network.config.text_config
    supervision = Supervision(["gaze"], text=text, depth=0.5, num_classes=len(table.classes), each=EACH)
    batch = Collator(network.processor, labels=table).questions(records[1:2])
    places, names = batch["cell_tokens"], {key: batch[key] for key in ("mentions", "meant")}
    prompts = network.prompts(batch)
    with supervision.listening(prompts) as heard:
        prompts.read_all()
    found = supervision(heard, prompts=prompts, places=places, cells=to_cells(batch["token_cells"]), **names)["gaze"]
    use_attention(network.vlm, "eager")
    layer = network.vlm.model.language_model.layers[supervision.layer - 1]
    with recorded([layer.self_attn]) as found_there:
        prompts.read_all()
    weights = found_there[0][1][0]  # (heads, to, from)
    use_attention(network.vlm, "sdpa")
    heads = text.num_attention_heads // text.num_key_value_heads  # the first group of them looks
    name = int(names["mentions"][0, 0])
    shown = places[(names["meant"][:, 1] // EACH**2).unique()]
    share = weights[:heads, name][:, shown].sum(-1)
    before = weights[:heads, name, : int(places[0])].sum(-1)  # of what comes before its pictures
    torch.testing.assert_close(found["loss"], -(share / (1 - before)).log().mean(), rtol=1e-4, atol=1e-5)
    found["loss"].backward()
    assert layer.self_attn.q_proj.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"geometry_depth is 0.*try 0\.5"):
        Supervision(["gaze"], text=text, depth=0.0, num_classes=2, each=EACH)


def test_a_run_learns_what_its_pictures_show_and_leaves_nothing_of_it_behind(
    learning_data: ModuleType, folder: Path, tmp_path: Path
) -> None:
    recipe = learning_data.small_recipe(**LESSONS, steps=30, save_every=30, pack_tokens=300, learning_rate=3e-3)
    train(tmp_path, recipe=recipe, spatial=folder)
    newest = latest_checkpoint(tmp_path / "run")
    assert newest is not None
    lines = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    first = lines[0]
    weighed = first["spatial/loss"] + 2 * first["readouts/loss"] + 0.5 * first["alignment/loss"]
    weighed += first["pointing/loss"] + 0.25 * first["gaze/loss"] + 0.125 * first["recall/loss"]
    assert first["loss"] == pytest.approx(weighed, rel=1e-3)
    assert first["readouts/place_error"] > 1 > lines[-2]["readouts/place_error"]
    for metric in ("readouts/class_accuracy", "pointing/hit"):
        before, after = (np.mean([line[metric] for line in part]) for part in (lines[:3], lines[-4:-1]))
        assert after > 0.9 > before, metric
    assert VLAModel(load_backbone(str(tmp_path / "model"))).supervision is None


def test_a_run_without_words_reads_no_more_than_its_pictures(
    learning_data: ModuleType, folder: Path, tmp_path: Path
) -> None:
    """spatial_weight 0 before the first layer: the vision tower learns, the language model stays as it was."""
    recipe = learning_data.small_recipe(spatial_weight=0.0, readout_weight=1.0, geometry_depth=0.0, pack_tokens=300)
    train(tmp_path, recipe=recipe, spatial=folder)
    before, after = (load_backbone(name).model for name in ("tiny", str(tmp_path / "model")))
    moved = {
        name.split(".")[1]: not torch.equal(old, new)
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if "blocks" in name or "layers" in name
    }
    assert moved == {"visual": True, "language_model": False}
    with pytest.raises(ValueError, match=r"recipe\.spatial_weight is 0.*nothing.*readout_weight"):
        train(tmp_path / "idle", recipe=learning_data.small_recipe(spatial_weight=0.0), spatial=folder)


def test_labels_that_cannot_be_read_are_refused(folder: Path, table: LabelTable, tmp_path: Path) -> None:
    rows = pq.read_table(folder / "part-00001.parquet").to_pylist()
    meta = json.loads(rows[0]["meta_info"])
    meta[0]["cells"]["numbers"].pop()
    write_records(tmp_path / "bad" / "part.parquet", records=[rows[0] | {"meta_info": json.dumps(meta)}])
    (bad,) = QuestionRows(tmp_path / "bad", fov=FovTarget(), max_pixels=56 * 56)
    with pytest.raises(ValueError, match="record 'labelled-0' has 79 numbers for 4 cells a side, expected 80: make"):
        table.read(bad)
    bad["meta_info"][0]["cells"].pop("pose")
    with pytest.raises(ValueError, match="record 'labelled-0' has 0 numbers for a camera's pose, expected 12: make"):
        table.poses(bad)
