"""The flow-matching head: what it attends to, what flows back, what it learns."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import DynamicCache

from vst_vla.vla.data.collate import Batch
from vst_vla.vla.heads import make_head
from vst_vla.vla.heads.base import Sizes
from vst_vla.vla.heads.expert import Expert
from vst_vla.vla.memory import Memory
from vst_vla.vla.model import VLAModel

HEAD = {"name": "flow", "chunk": 4, "draws": 2}


@pytest.fixture(scope="module")
def model(head_batches: ModuleType, robot_folder: Path) -> VLAModel:
    made: VLAModel = head_batches.make_model(robot_folder, HEAD)
    return made


@pytest.fixture(scope="module")
def batch(head_batches: ModuleType, robot_folder: Path, model: VLAModel) -> Batch:
    made: Batch = head_batches.make_batch(robot_folder, model, count=3)
    return made


def test_memory_is_the_cache_that_transformers_keeps(model: VLAModel, batch: Batch) -> None:
    prompts = model.prompts(batch)
    slot = model.head.slot(prompts.state)
    cache = DynamicCache(config=model.config.text_config)
    embeds = prompts.embeds.masked_scatter(prompts.slot_mask[..., None], slot)
    model.vlm.model.language_model(inputs_embeds=embeds, position_ids=prompts.positions, past_key_values=cache)
    memory = prompts.remember(slot, num_after=5)
    assert len(memory.keys) == model.config.text_config.num_hidden_layers
    for layer, keys, values in zip(cache.layers, memory.keys, memory.values, strict=True):
        torch.testing.assert_close(keys, layer.keys, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(values, layer.values, atol=1e-6, rtol=1e-5)


def test_padding_does_not_change_a_prediction(model: VLAModel, batch: Batch) -> None:
    wide = dict(batch)
    for key, filler in (("input_ids", 0), ("attention_mask", 0), ("slot_mask", False)):
        wide[key] = torch.nn.functional.pad(batch[key], (0, 5), value=filler)
    torch.testing.assert_close(model.predict(wide), model.predict(batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", ["state", "pixels", "task"])
def test_a_prediction_depends_on_every_input_and_on_nothing_else(model: VLAModel, batch: Batch, change: str) -> None:
    before = model.predict(batch)
    assert torch.equal(model.predict(batch), before), "the same noise every time"
    changed = dict(batch)
    if change == "state":
        changed["state"] = batch["state"] + 1
    elif change == "pixels":
        changed["pixel_values"] = batch["pixel_values"].flip(0)
    else:
        changed["input_ids"] = batch["input_ids"].clone()
        changed["input_ids"][:, -15] += 1
    assert (model.predict(changed) - before).abs().max() > 1e-6


def test_draws_do_not_see_each_other_and_each_sees_its_own_time() -> None:
    torch.manual_seed(0)
    sizes = Sizes(hidden=32, action=7, num_layers=2, num_kv_heads=1, head_dim=16)
    expert = Expert(sizes=sizes, width=32)
    for parameter in expert.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    past = torch.randn(2, 1, 6, 16)
    turn = torch.randn(1, 1, 3, 16)
    memory = Memory(keys=(past, past), values=(past, past), is_real=torch.ones(2, 6).bool(), rotation=(turn, turn))
    tokens, time = torch.randn(2, 2, 3, 32), torch.rand(2, 2)
    both = expert(tokens, time=time, memory=memory)
    second = expert(tokens[:, 1:], time=time[:, 1:], memory=memory)
    torch.testing.assert_close(both[:, 1:], second, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expert(tokens, time=time + 0.2, memory=memory), both, atol=1e-3)


def test_padded_steps_do_not_count(model: VLAModel, batch: Batch) -> None:
    padded = batch | {"action_is_pad": torch.tensor([[False, False, True, True]] * 3)}
    spoilt = padded | {"actions": batch["actions"].clone()}
    spoilt["actions"][:, 2:] = 1e3
    losses = []
    for given in (padded, spoilt):
        torch.manual_seed(0)
        per_step = model.head.loss(model.prompts(given), **{k: given[k] for k in ("actions", "action_is_pad")})
        losses.append(per_step["loss"])
    assert torch.isfinite(losses[1])
    nothing = batch | {"action_is_pad": torch.ones(3, 4).bool()}
    assert model(**nothing)["loss"].item() == 0.0


def test_insulation_lets_all_nothing_or_a_share_of_the_gradient_through(
    head_batches: ModuleType, model: VLAModel, batch: Batch
) -> None:
    head = model.head
    norms = {}
    for share in (1.0, 0.0, 0.25):
        head.backbone_gradient = share
        norms[share] = head_batches.gradient_norms(model, batch)
        assert head.embed_action.weight.grad.norm() > 0
    head.backbone_gradient = 1.0
    assert norms[1.0]["model.visual.patch_embed.proj.weight"] > 0
    assert all(value == 0.0 for value in norms[0.0].values())
    for name, value in norms[1.0].items():
        assert norms[0.25][name] == pytest.approx(0.25 * value, rel=1e-3, abs=1e-9), name


@pytest.mark.parametrize("name", ["tokens", "fast"])
def test_an_insulated_backbone_learns_from_the_discrete_loss_alone(
    head_batches: ModuleType, robot_folder: Path, name: str, tmp_path: Path
) -> None:
    discrete = {"name": name} | ({"num_words": 300} if name == "fast" else {})
    model = head_batches.make_model(robot_folder, HEAD | {"backbone_gradient": 0.0, "discrete": discrete})
    batch = head_batches.make_batch(robot_folder, model, count=2)
    norms = {}
    for weight in (1.0, 2.0, 0.0):
        model.head.discrete_weight = weight
        norms[weight] = head_batches.gradient_norms(model, batch)
    assert norms[1.0]["model.visual.patch_embed.proj.weight"] > 0
    assert norms[2.0] == pytest.approx({key: 2 * value for key, value in norms[1.0].items()}, rel=1e-3, abs=1e-9)
    assert all(value == 0.0 for value in norms[0.0].values())
    expected = model.eval().predict(batch)
    model.save(tmp_path / "model")
    assert torch.equal(VLAModel.load(tmp_path / "model").predict(batch), expected)


def test_gradient_checkpointing_changes_nothing(head_batches: ModuleType, model: VLAModel, batch: Batch) -> None:
    model.train()
    plain = head_batches.gradient_norms(model, batch)
    model.gradient_checkpointing_enable()
    again = head_batches.gradient_norms(model, batch)
    model.gradient_checkpointing_disable()
    assert again == pytest.approx(plain, rel=1e-4, abs=1e-7)


def test_fewer_steps_take_another_road_and_come_out_elsewhere(model: VLAModel, batch: Batch) -> None:
    ten = model.predict(batch)
    model.head.steps = 2
    two = model.predict(batch)
    model.head.steps = 10
    assert not torch.equal(ten, two)
    assert torch.isfinite(two).all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"steps": 0}, "steps of head flow is 0, expected at least 1"),
        ({"draws": 0}, "draws of head flow is 0"),
        ({"backbone_gradient": -1}, "expected 0 .insulated. or more"),
        ({"step": 5}, "did you mean 'steps'"),
        ({"discrete": {"name": "token"}}, "unknown discrete head of head flow 'token': did you mean 'tokens'"),
    ],
)
def test_bad_options(option: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_head({"name": "flow", **option}, sizes=Sizes(hidden=32, action=7))
