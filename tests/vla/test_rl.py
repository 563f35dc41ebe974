"""What a GRPO trainer is given: rows with judges, reward terms, settings; and what is left out of its loss."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from vst_vla.vla.data.records import encode_png
from vst_vla.vla.data.rl_records import RL_SCHEMA
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.train.rewards import TERMS, RewardTerm, reward_terms
from vst_vla.vla.train.rl_recipe import RLRecipe
from vst_vla.vla.train.rl_rows import rl_dataset
from vst_vla.vla.train.silent import without_silent

FOV = FovTarget(width=112, hfov_deg=45)
BOXES = '[{"bbox_3d": [0, 0, 1, 2, 2, 2, 0, 0, 0], "label": "milk"}]'


def row(name, mode, truth, *, level="L2", question="<image>Which?", pictures=1, thought=""):
    picture = {"bytes": encode_png(np.zeros((40, 90, 3), np.uint8)), "path": "a.png"}
    meta = {"mode": [mode], "question_type": "any", "level": level}
    texts = {
        "thought": thought,
        "answer_gt": truth,
        "answer": truth,
        "data_source": "test",
        "meta_info": json.dumps(meta),
    }
    return {"id": name, "images": [picture] * pictures, "question": question, **texts}


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows, schema=RL_SCHEMA), path)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    rows = [
        row("relation", "multi_choices_score", "B"),
        row("perception", "mra_score", "42", level="L0"),
        row("thought", "mra_score", "42", level="L0", thought="I count them."),
        row("boxes", "bbox3d", BOXES, question="<image>Detect it. hfov 90.00, vfov 47.92, 90x40."),
        row("two", "vqa_score", "left", question="First <image> then <image>: which?", pictures=2),
        row("many", "vqa_score", "left", question="<image>" * 5, pictures=5),
    ]
    path = write(tmp_path_factory.mktemp("rl") / "part.parquet", rows)
    return {r["id"]: r for r in rl_dataset(path, fov=FOV, max_pixels=12544, direct_levels=["L0"])}


def test_rows_say_whether_to_reason_first(dataset):
    assert list(dataset) == [
        "relation",
        "perception",
        "thought",
        "boxes",
        "two",
    ]  # five pictures are more than VST's four
    assert {name: r["thinking"] for name, r in dataset.items()} == {
        "relation": True, "perception": False, "thought": True, "boxes": False, "two": True,
    }  # fmt: skip
    for r in dataset.values():
        system, user = r["prompt"]
        assert ("<think>" in system["content"][0]["text"]) is r["thinking"]
        assert user["role"] == "user"
        assert "B" not in [part["text"] for part in user["content"]]


def test_pictures_stand_where_the_question_marks_them(dataset):
    kinds = [part["type"] for part in dataset["two"]["prompt"][1]["content"]]
    assert kinds == ["text", "image", "text", "image", "text"]
    for r in dataset.values():
        assert all(side % 28 == 0 for image in r["images"] for side in image.size)
    # Twice the angle of the common camera: the picture is enlarged to its focal length, and the prompt says so.
    text = dataset["boxes"]["prompt"][1]["content"][1]["text"]
    assert "hfov 90.00, vfov 47.92, 270x120" in text
    assert dataset["boxes"]["images"][0].size == (280, 112)


def test_terms_are_paid_with_their_tasks_shares(dataset):
    terms = {term.__name__: term for term in reward_terms()}
    assert tuple(terms) == TERMS == ("format", "accuracy", "count", "spatial")
    replies = ["<think>so</think>B", "42", "<think>so</think>42", BOXES, "left"]
    columns = {key: [r[key] for r in dataset.values()] for key in ("modes", "truth", "thinking")}
    paid = {
        name: term(completions=replies, prompts=None, trainer_state=None, **columns) for name, term in terms.items()
    }
    assert paid["format"] == [0.5, 0.5, 0.5, 0.5, 0.0]  # the last one did not reason
    assert paid["accuracy"] == [0.5, 0.5, 0.5, 0.5, 0.5]
    assert paid["count"] == paid["spatial"] == [None] * 5  # no scene graph was asked for


def test_completions_may_be_messages():
    term = RewardTerm("accuracy", factor=2.0)
    columns = {"modes": [["multi_choices_score"]], "truth": ["B"], "thinking": [False]}
    for completion in ([{"role": "assistant", "content": "B"}], [{"content": [{"type": "text", "text": "B"}]}], "B"):
        assert term(completions=[completion], **columns) == [1.0]
    assert term(completions=[[{"content": [{"type": "image"}]}]], **columns) == [0.0]


def test_terms_can_be_left_out():
    assert [term.__name__ for term in reward_terms({"format": 0, "count": 0})] == ["accuracy", "spatial"]
    assert [term.__name__ for term in reward_terms(modes=["bbox3d", "vqa_score"])] == ["format", "accuracy"]
    with pytest.raises(ValueError, match="unknown reward term 'acuracy': did you mean 'accuracy'"):
        reward_terms({"acuracy": 1})
    with pytest.raises(ValueError, match="every reward term has the factor 0"):
        reward_terms(dict.fromkeys(TERMS, 0))


def test_rows_that_cannot_be_judged_are_named(tmp_path):
    for bad, message in (
        (row("a", "multi_choices_score", "Z"), "'Z' is no truth for multi_choices_score"),
        (row("a", "multi_choice_score", "B"), "unknown task 'multi_choice_score': did you mean"),
        (row("a", "vqa_score", "left", pictures=5, question="<image>" * 5), "no question with at most 4 pictures"),
        (row("a", "vqa_score", "left", pictures=2), "record 'a' marks 1 images in its text but carries 2"),
    ):
        with pytest.raises(ValueError, match=message):
            rl_dataset(write(tmp_path / "part.parquet", [bad]), fov=FOV, max_pixels=12544)


def test_questions_of_some_tasks_alone(tmp_path):
    rows = [
        row("b", "multi_choices_score", "B"),
        row("left", "vqa_score", "left"),
        row("c", "multi_choices_score", "C"),
    ]
    path = write(tmp_path / "part.parquet", rows)
    chosen = rl_dataset(path, fov=FOV, max_pixels=12544, modes=["multi_choices_score", "mra_score"])
    assert [r["id"] for r in chosen] == ["b", "c"]
    with pytest.raises(ValueError, match=r"no question judged by mra_score with at most 4 pictures in .*part\.parquet"):
        rl_dataset(path, fov=FOV, max_pixels=12544, modes=["mra_score"])
    with pytest.raises(ValueError, match=r"unknown rl\.modes 'mra_scor': did you mean 'mra_score'"):
        rl_dataset(path, fov=FOV, max_pixels=12544, modes=["mra_scor"])
    assert RLRecipe.from_dict({"name": "letters", "steps": 1, "modes": ["vqa_score"]}).modes == ("vqa_score",)


def test_replies_without_an_advantage_leave_the_loss():
    batch = {
        "advantages": torch.tensor([1.2, -0.8, 0.0, 6e-4, -6e-4]),  # rounding in a group whose rewards are all 0.7
        "completion_mask": torch.tensor([[1, 1, 0]] * 5),
        "prompt_ids": torch.zeros(5, 2),
    }
    found = without_silent(batch)
    assert found["completion_mask"].tolist() == [[1, 1, 0]] * 2 + [[0, 0, 0]] * 3
    assert found["completion_mask"].dtype == batch["completion_mask"].dtype
    assert found["prompt_ids"] is batch["prompt_ids"]
    assert batch["completion_mask"].sum() == 10


def test_settings_are_checked():
    assert RLRecipe(name="a", steps=1).group == 5
    for values, message in (
        ({"group": 1}, "rl.group is 1, expected at least 2"),
        ({"steps": 0}, "rl.steps is 0, expected at least 1"),
        ({"prompts": 2, "rows_at_once": 4}, r"rl.rows_at_once 4 does not divide prompts \* group = 10: try 5"),
        ({"clip_hi": 0.3}, "unknown rl setting 'clip_hi': did you mean 'clip_high'"),
    ):
        with pytest.raises(ValueError, match=message):
            RLRecipe.from_dict({"name": "a", "steps": 1, **values})
