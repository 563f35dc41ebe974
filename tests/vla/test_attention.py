"""Halves on a CPU: attention stays in float32, a run learns alike, and its weights stay float32."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from vst_vla.vla.attention import attend
from vst_vla.vla.contracts import IMAGE_KEYS
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.memory import recorded
from vst_vla.vla.train.network import build_network
from vst_vla.vla.train.run import train
from vst_vla.vla.transforms import apply, build_transforms

PARALLEL: dict[str, Any] = {"name": "parallel", "chunk": 4}


def able(monkeypatch: pytest.MonkeyPatch, **instructions: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_attention_is_float32_under_autocast_on_a_cpu() -> None:
    query, key, value = torch.randn(3, 2, 4, 6, 8).unbind(0)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(attend(query, key, value, is_causal=True), expected, rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert F.scaled_dot_product_attention(query, key, value).dtype == torch.bfloat16
        found = attend(query, key, value.bfloat16(), is_causal=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found, F.scaled_dot_product_attention(query, key, value.bfloat16().float(), is_causal=True)
    )


def test_halves_change_losses_and_gradients_by_rounding_only(
    learning_data: ModuleType, robot_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    able(monkeypatch, avx512_bf16=True)
    data = RobotDataset(robot_folder, chunk=4)
    losses, gradients = [], []
    for bf16 in (False, "auto"):
        torch.manual_seed(0)
        recipe = learning_data.small_recipe(bf16=bf16)
        assert recipe.computes_in_bf16 is (bf16 == "auto")
        model = build_network(recipe, backbone="tiny", head=PARALLEL, data=data, seed=0)
        assert model.spec is not None
        assert model.head is not None
        collator = Collator(model.processor, image_keys=IMAGE_KEYS, num_slots=model.head.num_slots)
        transforms = build_transforms(model.spec, stats=data.norm_stats)
        batch = collator.robot([apply(transforms, data[index]) for index in range(3)])
        layers = [model.vlm.model.visual.blocks[0].attn.qkv, model.vlm.model.language_model.layers[0].self_attn.o_proj]
        with recorded(layers) as made, torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.computes_in_bf16):
            loss = model(**batch)["loss"]
        assert {part.dtype for part in made} == {torch.bfloat16 if bf16 else torch.float32}
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]
    assert F.cosine_similarity(*gradients, dim=0) > 0.98


def test_auto_goes_by_the_processor_and_leaves_float32_weights(
    learning_data: ModuleType, robot_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for instructions, expected in (({"avx512_bf16": True}, True), ({"bf16": True}, True), ({"avx512_f": True}, False)):
        able(monkeypatch, **instructions)
        recipe = learning_data.small_recipe(bf16="auto", steps=1)
        assert (recipe.computes_in_bf16, recipe.keeps_bf16) == (expected, False)
    able(monkeypatch, amx_bf16=True)
    model = train(tmp_path / "run", recipe=recipe, head=PARALLEL, robot=robot_folder)
    assert {weight.dtype for weight in load_file(model / "model.safetensors").values()} == {torch.float32}
    with pytest.raises(ValueError, match=r"unknown recipe.bf16 'atuo': did you mean 'auto'"):
        learning_data.small_recipe(bf16="atuo")
