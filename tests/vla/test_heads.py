"""What every action head must do: learn eight samples by heart and give them back, and survive its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from vst_vla.vla.data.collate import Batch
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.run import train
from vst_vla.vla.train.trainer import VLATrainer, latest_checkpoint
from vst_vla.vla.transforms import action_normalizer

HEADS: dict[str, dict[str, Any]] = {
    "parallel": {"head": {"name": "parallel", "chunk": 4}, "steps": 200, "loss": 0.05, "error": 0.4},
    "flow": {"head": {"name": "flow", "chunk": 4, "width": 1.0, "draws": 16}, "steps": 110, "loss": 0.1, "error": 0.25},
    "tokens": {"head": {"name": "tokens", "chunk": 4}, "steps": 80, "loss": 0.1, "error": 0.005, "clip": 1.0},
    "fast": {"head": {"name": "fast", "chunk": 4, "num_words": 300}, "steps": 80, "loss": 0.1, "error": 0.1},
}
"""Half of a bin is 0.004 for `tokens`, which cuts off what the quantiles leave outside [-1, 1]; half of a rounded
coefficient, four times, at most 0.1 for `fast`."""
Learnt = tuple[VLAModel, Batch, list[float], dict[str, Any]]


@pytest.fixture(scope="module", params=HEADS)
def learnt(request: pytest.FixtureRequest, head_batches: ModuleType, robot_folder: Path) -> Learnt:
    """Some of the samples' chunks run past their episode's end."""
    case = HEADS[request.param]
    model = head_batches.make_model(robot_folder, case["head"])
    batch = head_batches.make_batch(robot_folder, model)
    assert batch["action_is_pad"].any()
    losses = head_batches.overfit(model, batch, steps=case["steps"], lr=3e-3)
    return model, batch, losses, case


def test_it_learns_eight_samples_by_heart_and_predicts_them(head_batches: ModuleType, learnt: Learnt) -> None:
    model, batch, losses, case = learnt
    assert losses[-1] < case["loss"] < losses[0]
    assert head_batches.worst_error(model, batch, clip=case.get("clip")) < case["error"]


def test_actions_survive_saving_and_loading(learnt: Learnt, tmp_path: Path) -> None:
    model, batch, _, case = learnt
    expected = model.eval().predict(batch)
    model.save(tmp_path / "model")
    loaded = VLAModel.load(tmp_path / "model", head=case["head"])
    torch.testing.assert_close(loaded.predict(batch), expected, atol=1e-5, rtol=0)
    other = next(name for name in HEADS if name != case["head"]["name"])
    with pytest.raises(ValueError, match=f"has head '{case['head']['name']}', not '{other}'") as caught:
        VLAModel.load(tmp_path / "model", head={"name": other})
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"option chunk of head .* is fixed by training at 4, got 5"):
        VLAModel.load(tmp_path / "model", head={"chunk": 5})


def test_actions_survive_the_inverse_transforms(learnt: Learnt, robot_folder: Path) -> None:
    model, batch, _, _ = learnt
    assert model.spec is not None
    assert model.norm_stats is not None
    physical = action_normalizer(model.spec, stats=model.norm_stats).denormalize(batch["actions"]).numpy()
    data = RobotDataset(robot_folder, chunk=4)
    np.testing.assert_allclose(physical, [data[2 * index]["action"] for index in range(8)], atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_a_chunk_longer_than_any_episode_is_padding_from_its_end_on(
    name: str, head_batches: ModuleType, robot_folder: Path
) -> None:
    model = head_batches.make_model(robot_folder, HEADS[name]["head"] | {"chunk": 16})
    batch = head_batches.make_batch(robot_folder, model, count=2)
    assert batch["action_is_pad"].any(dim=1).all(), "the longest episode has 12 steps"
    assert torch.isfinite(model(**batch)["loss"])
    assert model.predict(batch).shape == (2, 16, 7)


@pytest.mark.parametrize("name", HEADS)
def test_a_half_precision_backbone_trains_and_predicts_float32(
    name: str, head_batches: ModuleType, robot_folder: Path
) -> None:
    model = head_batches.make_model(robot_folder, HEADS[name]["head"])
    model.vlm.to(torch.bfloat16)
    batch = head_batches.make_batch(robot_folder, model, count=2)
    assert all(np.isfinite(norm) for norm in head_batches.gradient_norms(model, batch).values())
    assert model.predict(batch).dtype == torch.float32


def _losses(out: Path) -> list[float]:
    newest = latest_checkpoint(out / "run")
    assert newest is not None
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    return [line["loss"] for line in history if "loss" in line]


class Killed(BaseException):
    """Stands for a kill."""


def test_a_killed_run_goes_on_with_the_same_draws_and_the_same_words(
    head_batches: ModuleType,
    learning_data: ModuleType,
    robot_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = learning_data.small_recipe(image_size=head_batches.SIZE)
    head = {"name": "flow", "chunk": 4, "discrete": {"name": "fast", "num_words": 300}}
    given = {"recipe": recipe, "head": head, "robot": robot_folder}
    train(tmp_path / "whole", **given)
    compute = VLATrainer.compute_loss

    def dying(self: VLATrainer, *args: object, **kwargs: object) -> object:
        if self.state.global_step == 3:
            raise Killed
        return compute(self, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(VLATrainer, "compute_loss", dying)
        with pytest.raises(Killed):
            train(tmp_path / "killed", **given)
    folder = train(tmp_path / "killed", **given)
    assert _losses(tmp_path / "killed") == _losses(tmp_path / "whole")
    model = VLAModel.load(folder)
    batch = head_batches.make_batch(robot_folder, model, count=1)
    assert torch.equal(model.predict(batch), VLAModel.load(tmp_path / "whole" / "model").predict(batch))
