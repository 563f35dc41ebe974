"""How a backbone is tuned: adapters or whole, in which precision, on which data by which weight."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.data.mixture import SPATIAL
from vst_vla.vla.prompt import SYSTEM_PROMPT, THINKING_PROMPT
from vst_vla.vla.train.network import build_network
from vst_vla.vla.train.run import train
from vst_vla.vla.train.sources import build_batches
from vst_vla.vla.train.trainer import latest_checkpoint

PACKING = {"pack_tokens": 200, "batch_size": 2, "optimizer": "adamw"}


def changed(folder: Path) -> set[str]:
    """Parts of the tiny backbone that a run has changed."""
    before, after = load_backbone("tiny").model.state_dict(), load_backbone(str(folder)).model.state_dict()
    names = [name for name in before if not torch.equal(before[name], after[name].float())]
    return {"vision" if "visual.blocks" in name else "merger" if "merger" in name else "language" for name in names}


def test_adapters_on_chosen_parts_with_recomputed_activations(
    learning_data: ModuleType, question_folder: Path, tmp_path: Path
) -> None:
    """Checkpoints between hold the adapters; the result is a plain checkpoint with them folded in."""
    options = {"lora_rank": 4, "lora_parts": ("vision",), "gradient_checkpointing": True, "steps": 1, "save_every": 1}
    folder = train(tmp_path, recipe=learning_data.small_recipe(**PACKING, **options), spatial=question_folder)
    newest = latest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert any("lora_A" in name for name in load_file(newest / "model.safetensors"))
    assert changed(folder) == {"vision"}
    plain = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    assert not any("lora" in name for name, _ in plain.named_parameters())


def test_bfloat16_keeps_what_is_trained_in_float32_and_saves_half(
    learning_data: ModuleType, question_folder: Path, tmp_path: Path
) -> None:
    recipe = learning_data.small_recipe(**PACKING, bf16=True, freeze=("vision",), steps=2)
    network = build_network(recipe, backbone="tiny", head=None, data=None, seed=0)
    for name, parameter in network.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16), name
    folder = train(tmp_path, recipe=recipe, spatial=question_folder)
    assert not torch.is_autocast_enabled("cpu"), "left on for whoever comes next"
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    before = load_backbone("tiny", dtype=torch.bfloat16).model.state_dict()
    after = load_backbone(str(folder)).model.state_dict()
    assert {value.dtype for value in after.values()} == {torch.bfloat16}
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if "visual.blocks" in name or "patch_embed" in name} <= same
    assert "model.visual.merger.mlp.0.weight" not in same


def test_thoughts_with_stage_one_played_back_by_weight(
    upstream_layout: ModuleType, learning_data: ModuleType, tmp_path: Path
) -> None:
    """Four thoughts to every direct answer; each kind has its own system prompt; one pass is one over the thoughts."""
    rows = upstream_layout.rows()
    thoughts = [rows[2] | {"id": f"t{n}"} for n in range(20)]
    direct = [rows[0] | {"id": f"d{n}"} for n in range(50)]
    sets = [tmp_path / "thoughts", tmp_path / "direct"]
    for folder, records in zip(sets, (thoughts, direct), strict=True):
        upstream_layout.write(folder / "a.parquet", records)
    recipe = learning_data.small_recipe(steps=None, batch_size=2, pack_tokens=400)
    model = build_network(recipe, backbone="tiny", head=None, data=None, seed=0)
    batches, steps = build_batches(recipe, model=model, robot=None, spatial=sets, weights=[4, 1], seed=0)
    seen = [
        model.processor.tokenizer.decode(sample)
        for item in range(40)
        for batch in [batches[item][SPATIAL]]
        for sample in batch["input_ids"][0].split(batch["sample_lengths"].tolist())
    ]
    thinking = [THINKING_PROMPT in text for text in seen]
    assert np.mean(thinking) == pytest.approx(0.8, abs=0.05)
    assert all(("<think>" in text.split("assistant")[-1]) == flag for text, flag in zip(seen, thinking, strict=True))
    assert all(SYSTEM_PROMPT in text for text in seen)
    per_pass = steps * 2 * len(seen) / 40 / 2
    assert 25 <= per_pass <= 40, "20 thoughts, 5 direct answers, and what fills the last packs"


def test_the_same_records_in_one_list_without_weights(
    learning_data: ModuleType, question_folder: Path, tmp_path: Path
) -> None:
    recipe = learning_data.small_recipe(pack_tokens=200, steps=None, batch_size=1)
    model = build_network(recipe, backbone="tiny", head=None, data=None, seed=0)
    again = learning_data.write_questions(tmp_path, count=9)
    batches, steps = build_batches(
        recipe, model=model, robot=None, spatial=[[question_folder, again]], weights=None, seed=0
    )
    assert sum(len(batches[item][SPATIAL]["sample_lengths"]) for item in range(steps)) == 15
