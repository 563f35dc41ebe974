"""The verb `grpo`: its recipes, and a real run with the tiny backbone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vst_vla.scripts.cli import main
from vst_vla.vla.data.records import encode_png
from vst_vla.vla.data.rl_records import RL_SCHEMA
from vst_vla.vla.train.rl_recipe import RLRecipe


@pytest.mark.parametrize("name", ["vst", "tiny"])
def test_recipes_hold_settings(name):
    from vst_vla.scripts.config import compose

    recipe = RLRecipe.from_dict(compose("grpo", [f"rl={name}", "data=x"])["rl"])
    assert (recipe.group, recipe.temperature, recipe.clip_low, recipe.clip_high, recipe.kl) == (5, 1.0, 0.2, 0.28, 0.0)


def test_without_trl_the_verb_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)  # as if it were not installed
    assert main(["grpo", f"data={tmp_path}", f"out={tmp_path}"]) == 2
    assert "reinforcement learning needs TRL: pip install 'vst-vla[rl]'" in capsys.readouterr().err


def write_rows(folder: Path, *, count: int = 12) -> Path:
    """Pictures of one colour; the answer is always B."""
    rows = []
    for number in range(count):
        picture = np.full((56, 56, 3), 20 * number, np.uint8)
        meta = {"mode": ["multi_choices_score"], "question_type": "multi_choices", "level": "L0"}
        texts = {"question": "<image>A or B?", "thought": "", "answer_gt": "B", "answer": "B", "data_source": "test"}
        images = [{"bytes": encode_png(picture), "path": "a.png"}]
        rows.append({"id": str(number), "images": images, "meta_info": json.dumps(meta), **texts})
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=RL_SCHEMA), folder / "part.parquet")
    return folder


def test_pictures_keep_their_places_beside_prompts_of_other_lengths(tmp_path, monkeypatch) -> None:
    """Wherever positions are worked out, exactly the picture's tokens are taken for a picture."""
    from transformers import Qwen2_5_VLModel

    from vst_vla.vla.train.grpo import train_grpo

    folder = write_rows(tmp_path / "rl", count=4)
    table = pq.read_table(folder / "part.parquet").to_pylist()
    for number, row in enumerate(table):
        row["question"] = "<image>" + "A or B? " * (1 + 5 * number)
    pq.write_table(pa.Table.from_pylist(table, schema=RL_SCHEMA), folder / "part.parquet")
    found: list[bool] = []
    original = Qwen2_5_VLModel.get_rope_index

    def watched(self, input_ids, **given):
        found.append(bool(((input_ids == self.config.image_token_id) == (given["mm_token_type_ids"] == 1)).all()))
        return original(self, input_ids, **given)

    monkeypatch.setattr(Qwen2_5_VLModel, "get_rope_index", watched)
    recipe = RLRecipe(
        name="test", steps=1, prompts=4, rows_at_once=20, updates=1, max_new_tokens=2, max_pixels=56 * 56,
        direct_levels=("L0",),
    )  # fmt: skip
    assert (train_grpo(tmp_path / "out", recipe=recipe, data=folder) / "config.json").is_file()
    assert len(found) >= 2
    assert all(found)


def guessing_backbone(learning_data, folder: Path) -> Path:
    """The tiny backbone, taught to answer A or B at random."""
    from vst_vla.vla.data.records import write_records
    from vst_vla.vla.train.run import train

    rows = []
    for number in range(12):
        turns = [{"from": "human", "value": "<image>A or B?"}, {"from": "gpt", "value": "AB"[number % 2]}]
        images = [{"bytes": encode_png(np.full((56, 56, 3), 20 * number, np.uint8)), "path": "a.png"}]
        row = {"conversations": turns, "id": str(number), "data_source": "test", "images": images, "type": "mm_qa"}
        rows.append(row | {"meta_info": "[]"})
    write_records(folder / "data" / "part.parquet", records=rows)
    recipe = learning_data.small_recipe(steps=30, save_every=30, log_every=5, learning_rate=3e-3)
    return train(folder / "out", recipe=recipe, spatial=folder / "data")


def logged(checkpoint: Path) -> list[dict[str, float]]:
    history = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return [line for line in history if "reward" in line]


def test_the_reward_of_a_trivial_task_rises_and_a_cut_run_goes_on(learning_data, tmp_path) -> None:
    from vst_vla.vla.train.grpo import train_grpo
    from vst_vla.vla.train.trainer import latest_checkpoint

    start = guessing_backbone(learning_data, tmp_path / "start")
    data = write_rows(tmp_path / "rl")
    recipe = RLRecipe(
        name="test", steps=12, prompts=4, rows_at_once=20, updates=1, learning_rate=3e-4, max_new_tokens=2,
        max_pixels=56 * 56, direct_levels=("L0",), save_every=4,
    )  # fmt: skip
    out = tmp_path / "grpo"
    model = train_grpo(out, recipe=recipe, data=data, backbone=str(start))
    newest = latest_checkpoint(out / "run")
    assert newest is not None
    lines = logged(newest)
    assert {"rewards/format/mean", "rewards/accuracy/mean"} <= set(lines[0])
    first, last = (np.mean([line["rewards/accuracy/mean"] for line in part]) for part in (lines[:2], lines[-4:]))
    assert last > first + 0.1
    # Cut after the checkpoint before the last one: the same command makes the rest and the model again.
    for path in (*newest.rglob("*"),):
        path.unlink()
    newest.rmdir()
    for path in model.rglob("*"):
        path.unlink()
    model.rmdir()
    assert train_grpo(out, recipe=recipe, data=data, backbone=str(start)) == model
    assert (model / "config.json").is_file()
    keys = ("step", "loss", "reward", "grad_norm", "rewards/accuracy/mean")
    assert [[line[key] for key in keys] for line in logged(newest)] == [[line[key] for key in keys] for line in lines]
