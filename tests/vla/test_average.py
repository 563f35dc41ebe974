"""The averaged weights: the arithmetic, what a finished checkpoint holds, and resuming to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.average import AVERAGE, keep_average, take_average
from vst_vla.vla.train.run import train
from vst_vla.vla.train.trainer import VLATrainer, latest_checkpoint

HEAD = {"name": "parallel", "chunk": 4}


def test_the_average_is_the_recurrence_over_the_steps() -> None:
    torch.manual_seed(0)
    weight, still = torch.nn.Parameter(torch.randn(3)), torch.nn.Parameter(torch.randn(2))
    optimizer = torch.optim.AdamW([weight, still], lr=0.1)
    keep_average(optimizer, decay=0.5)
    expected = None
    for step in range(1, 12):
        weight.grad = torch.randn(3)
        optimizer.step()
        kept = min(0.5, (1 + step) / (10 + step))
        now = weight.detach().clone()
        expected = now if expected is None else kept * expected + (1 - kept) * now
    before = still.detach().clone()
    take_average(optimizer)
    assert expected is not None
    torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(still, before), "a parameter that never had a gradient stays as it is"


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def runs(learning_data: ModuleType, robot_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An unbroken run, and one that is killed at step 3 and goes on from step 2; both optimizers have their part."""
    out = tmp_path_factory.mktemp("average")
    recipe = learning_data.small_recipe(ema=0.6, optimizer="muon", image_size=28)
    given = {"recipe": recipe, "head": HEAD, "robot": robot_folder}
    train(out / "whole", **given)
    compute = VLATrainer.compute_loss

    def dying(self: VLATrainer, *args: object, **kwargs: object) -> object:
        if self.state.global_step == 3:
            raise Killed
        return compute(self, *args, **kwargs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VLATrainer, "compute_loss", dying)
        with pytest.raises(Killed):
            train(out / "killed", **given)
    train(out / "killed", **given)
    return out / "whole", out / "killed"


def _weights(out: Path) -> dict[str, torch.Tensor]:
    model = out / "model"
    return load_file(model / "model.safetensors") | load_file(model / "head.safetensors")


def test_a_killed_run_resumes_its_average_exactly(runs: tuple[Path, Path]) -> None:
    whole, killed = map(_weights, runs)
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_a_run_killed_behind_its_last_step_still_takes_the_average(
    runs: tuple[Path, Path], learning_data: ModuleType, robot_folder: Path
) -> None:
    before = _weights(runs[1])
    shutil.rmtree(runs[1] / "model")
    recipe = learning_data.small_recipe(ema=0.6, optimizer="muon", image_size=28)
    train(runs[1], recipe=recipe, head=HEAD, robot=robot_folder)
    after = _weights(runs[1])
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_finished_checkpoint_holds_the_average_not_the_last_weights(runs: tuple[Path, Path]) -> None:
    newest = latest_checkpoint(runs[0] / "run")
    assert newest is not None
    assert newest.name == "checkpoint-4"
    last = load_file(newest / "model.safetensors")["head.queries"]
    state = torch.load(newest / "optimizer.pt")["state"].values()
    averages = [entry[AVERAGE] for entry in state if AVERAGE in entry and entry[AVERAGE].shape == last.shape]
    finished = _weights(runs[0])["head.queries"]
    assert any(torch.equal(finished, average) for average in averages)
    assert not torch.equal(finished, last)
    VLAModel.load(runs[0] / "model")


def test_a_decay_outside_its_range_is_refused(learning_data: ModuleType) -> None:
    for decay in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=rf"recipe.ema is {decay}, expected 0 \(off\) or less than 1"):
            learning_data.small_recipe(ema=decay)
