"""Recall: answers are said from the places of what their question names, in the order of naming."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.data.turns import asked_names
from vst_vla.vla.geometry.cells import to_cells
from vst_vla.vla.geometry.recall import MOST, WORDS, Recall
from vst_vla.vla.geometry.supervision import Supervision
from vst_vla.vla.prompt import ANSWER_HEADER, encode, record_messages
from vst_vla.vla.train.run import train
from vst_vla.vla.train.trainer import latest_checkpoint

TURNS = [
    ("human", "Which is nearer, the red point or the blue point?"),
    ("gpt", "the blue point"),
    ("human", "What is it?"),
    ("gpt", "cup"),
    ("human", "And the red point plate: " + ", ".join(["the red point, the blue point"] * 3) + "?"),
    ("gpt", "yes"),
]


def test_an_answer_goes_with_the_names_of_its_own_question_in_their_order() -> None:
    """A thing named twice at once counts once, a turn without names not at all, and no more than six are kept."""
    tokenizer = load_backbone("tiny").processor.tokenizer
    conversation = [{"from": speaker, "value": text} for speaker, text in TURNS]
    row = encode(record_messages({"conversations": conversation}), tokenizer=tokenizer, image_tokens=[])
    words = [tokenizer.decode(row.input_ids[: place + 1]) for place in range(len(row.input_ids))]
    cells = {"red point": np.array([1]), "blue point": np.array([7]), "plate": np.array([0, 1])}
    named = [
        (place, cells[name])
        for name in ("plate", "red point", "blue point")
        for place, text in enumerate(words)
        if text.endswith(f"the {name}" if name != "plate" else " plate") and row.labels[place] == -100
    ]
    assert len(named) == 1 + 2 * 4 + 1
    header = len(tokenizer.encode(ANSWER_HEADER, add_special_tokens=False))
    found = list(asked_names(row, named, header=header))
    said = [words[place].rsplit(ANSWER_HEADER, 1) for place, _ in found]
    turns = [0] * WORDS + [4] * 3
    assert all(before.endswith(f"{TURNS[turn][1]}<|im_end|>\n") for (before, _), turn in zip(said, turns, strict=True))
    assert [len(tokenizer.encode(after)) for _, after in said] == [*range(WORDS), *range(3)]
    told = tokenizer.decode([row.labels[place + 1] for place, _ in found])
    assert told == "the blueyes<|im_end|>", "the first six tokens of one reply, and all of another"
    meant = [[None if number < 0 else int(named[number][1].max()) for number in numbers] for _, numbers in found]
    assert meant == [[1, 7, *[None] * 4]] * WORDS + [[1, 1, 7, 1, 7, 1]] * 3


def test_places_are_held_against_those_of_the_names_in_turn() -> None:
    """Of two pictures in the robot's axes alone; of what is beyond reach, and of no name, nothing is asked."""
    torch.manual_seed(0)
    numbers = torch.tensor([[[1, 500, 100, 0, 500]], [[1, 700, 300, 200, 700]], [[2, 9000, 0, 0, 9000]]])
    poses = torch.eye(3, 4).repeat(3, 1, 1)
    poses[:, 2, 3] = -0.5
    cells = to_cells(numbers.to(torch.int16), poses=poses)
    recall = Recall(hidden_dim=8)
    names = torch.tensor([[1, 0, *[-1] * (MOST - 2)], [2, 0, *[-1] * (MOST - 2)]])
    given = {"mentions": torch.tensor([[0, 0, 3, 1], [0, 0, 3, 2], [0, 0, 3, 1]])}
    given["meant"] = torch.tensor([[0, 0], [1, 0], [1, 1], [2, 2]])
    answers = torch.randn(2, 8)
    found = recall(answers, cells, names=names, **given)
    said = recall.place(answers).unflatten(1, (MOST, 6))
    first, both = torch.tensor([0.1, 0.0, 0.5]), torch.tensor([0.2, 0.1, 0.6])
    lift = torch.tensor([0.0, 0.0, 0.5])
    placed = [said[0, 0, :3] - (both - lift), said[0, 1, :3] - (first - lift), said[1, 1, :3] - (first - lift)]
    torch.testing.assert_close(found["place_error"], torch.stack(placed).abs().mean().detach())
    seen = [said[0, 1, 3:] - first, said[1, 1, 3:] - first]
    torch.testing.assert_close(found["seen_error"], torch.stack(seen).abs().mean().detach())
    assert float(found["loss"].detach()) == pytest.approx(float((found["place_error"] + found["seen_error"]) / 0.2))
    found["loss"].backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in recall.parameters())


@pytest.mark.parametrize("depth", [0.0, 1.0])
def test_there_has_to_be_a_layer_behind(depth: float) -> None:
    text = load_backbone("tiny").model.config.text_config
    with pytest.raises(
        ValueError, match=rf"geometry_depth is {depth}, but answers recall in the layer behind: try 0\.5"
    ):
        Supervision(["recall"], text=text, depth=depth, num_classes=2, each=2)


def test_places_are_recalled_in_a_run_and_wanted_of_no_demonstrations(
    learning_data: ModuleType, robot_folder: Path, tmp_path: Path
) -> None:
    learning_data.write_labelled_questions(tmp_path / "data")
    settings = {"steps": 30, "save_every": 30, "pack_tokens": 300, "learning_rate": 3e-3}
    recipe = learning_data.small_recipe(recall_weight=1.0, **settings)
    train(tmp_path / "a", recipe=recipe, spatial=tmp_path / "data")
    newest = latest_checkpoint(tmp_path / "a" / "run")
    assert newest is not None
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    lines = [line for line in history if "recall/seen_error" in line]
    before, after = (np.mean([line["recall/seen_error"] for line in part]) for part in (lines[:3], lines[-3:]))
    assert after < 0.1 * before
    with pytest.raises(
        ValueError, match=r"recall_weight is 1\.0, but demonstrations have no answers that could recall: set it to 0"
    ):
        train(tmp_path / "b", recipe=recipe, head={"name": "parallel", "chunk": 4}, robot=robot_folder)
