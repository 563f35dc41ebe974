"""Muon on the blocks' matrices, AdamW on everything else, as one optimizer."""

from __future__ import annotations

import copy

import pytest
import torch

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.heads.base import Sizes
from vst_vla.vla.heads.expert import Expert
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.optimizer import ADAMW, MUON, MuonAdamW, make_optimizer, parameter_groups
from vst_vla.vla.train.recipe import Recipe


def build(model: torch.nn.Module, *, name: str) -> torch.optim.Optimizer:
    groups = parameter_groups(model, learning_rate=1e-3, vision_lr_ratio=0.1, weight_decay=0.01)
    return make_optimizer(groups, name=name, betas=(0.9, 0.999), eps=1e-8)


def give_gradients(model: torch.nn.Module, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.fixture
def model() -> VLAModel:
    return VLAModel(load_backbone("tiny"))


def test_vision_tower_learns_at_its_own_rate(model: VLAModel) -> None:
    groups = parameter_groups(model, learning_rate=1e-3, vision_lr_ratio=0.1, weight_decay=0.01)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(1e-4 if "visual" in name else 1e-3), name
        assert decays[id(parameter)] == (0.01 if parameter.ndim >= 2 else 0.0), name


def test_the_blocks_matrices_move_along_orthogonal_directions_and_the_rest_as_under_adamw(model: VLAModel) -> None:
    other = copy.deepcopy(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for network, name in ((model, MUON), (other, ADAMW)):
        give_gradients(network, seed=0)
        build(network, name=name).step()
    for (name, mine), adamw in zip(model.named_parameters(), other.parameters(), strict=True):
        if mine.ndim == 2 and ("visual.blocks." in name or "language_model.layers." in name):
            rate = 1e-4 if "visual" in name else 1e-3
            update = (before[name] * (1 - rate * 0.01) - mine.detach()) / (rate * 0.2 * max(mine.shape) ** 0.5)
            values = torch.linalg.svdvals(update)
            assert values.quantile(0.2) > 0.5, name
            assert values.max() < 1.4, name
        else:
            assert torch.equal(mine, adamw), name


def test_an_expert_s_matrices_are_muon_s_but_not_what_modulates_its_norms() -> None:
    expert = Expert(sizes=Sizes(hidden=32, action=7, num_layers=2, num_kv_heads=2, head_dim=8), width=16)
    model = torch.nn.ModuleDict({"expert": expert})
    groups = parameter_groups(model, learning_rate=1e-3, vision_lr_ratio=1.0, weight_decay=0.01)
    muon = {id(p) for group in groups if group["muon"] for p in group["params"]}
    names = {name.split(".")[-2] for name, parameter in model.named_parameters() if id(parameter) in muon}
    assert names == {"query", "key", "value", "out", "gate", "up", "down"}


def test_a_loaded_state_goes_on_to_the_bit(model: VLAModel) -> None:
    optimizer = build(model, name=MUON)
    give_gradients(model, seed=0)
    optimizer.step()
    again = copy.deepcopy(model)
    resumed = build(again, name=MUON)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for network, steps in ((model, optimizer), (again, resumed)):
        for group in steps.param_groups:  # as a scheduler does
            group["lr"] *= 0.5
        give_gradients(network, seed=1)
        steps.step()
    for (name, mine), theirs in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


def test_without_blocks_there_is_nothing_for_muon() -> None:
    layer = torch.nn.Linear(4, 4)
    assert not isinstance(build(layer, name=MUON), MuonAdamW)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown recipe.optimizer 'moun': did you mean 'muon'"):
        Recipe(name="x", steps=1, batch_size=1, learning_rate=1e-3, optimizer="moun")
