"""Training runs: both kinds, resumed on the same loss curve, killed, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.network import build_network
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.run import train
from vst_vla.vla.train.sources import build_batches
from vst_vla.vla.train.trainer import VLATrainer, latest_checkpoint

HEAD = {"name": "parallel", "chunk": 8}


def losses(out: Path) -> dict[int, float]:
    """Loss by step, out of the newest checkpoint's log."""
    newest = latest_checkpoint(out / "run")
    assert newest is not None
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    return {line["step"]: line["loss"] for line in history if "loss" in line}


@pytest.fixture(scope="module")
def policy_run(
    learning_data: ModuleType, robot_folder: Path, question_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("run")
    train(out, recipe=learning_data.small_recipe(), head=HEAD, robot=robot_folder, spatial=question_folder)
    return out


def test_policy_run_logs_both_sources_and_loads(policy_run: Path) -> None:
    newest = latest_checkpoint(policy_run / "run")
    assert newest is not None
    line = json.loads((newest / "trainer_state.json").read_text())["log_history"][0]
    assert {"robot/action_l1", "spatial/token_accuracy", "loss"} <= line.keys()
    assert line["loss"] == pytest.approx(line["robot/loss"] + line["spatial/loss"], rel=1e-3)
    model = VLAModel.load(policy_run / "model")
    assert model.spec is not None
    assert model.spec.recipe == "test"
    assert list((policy_run / "run").rglob("events.out.tfevents*")), "TensorBoard's log"


def test_spatial_run_makes_a_backbone_for_the_policy(
    learning_data: ModuleType, robot_folder: Path, question_folder: Path, tmp_path: Path
) -> None:
    folder = train(tmp_path / "spatial", recipe=learning_data.small_recipe(), spatial=question_folder)
    trained = load_backbone(str(folder))
    fresh = load_backbone("tiny")
    name, weight = next((n, p) for n, p in trained.model.named_parameters() if "layers.0.mlp.gate_proj" in n)
    assert not torch.equal(weight, dict(fresh.model.named_parameters())[name])
    train(tmp_path / "policy", recipe=learning_data.small_recipe(), head=HEAD, backbone=str(folder), robot=robot_folder)
    with pytest.raises(ValueError, match="no action head"):
        VLAModel.load(folder)


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


def test_a_killed_run_resumes_on_the_same_curve(
    learning_data: ModuleType,
    robot_folder: Path,
    question_folder: Path,
    policy_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed at step 3 and while step 2's checkpoint stands: the rest is the unbroken run's, to the last digit."""
    recipe, out = learning_data.small_recipe(), tmp_path / "killed"
    given = {"recipe": recipe, "head": HEAD, "robot": robot_folder, "spatial": question_folder}
    compute = VLATrainer.compute_loss

    def dying(self: VLATrainer, *args: object, **kwargs: object) -> object:
        if self.state.global_step == 3:
            raise Killed
        return compute(self, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(VLATrainer, "compute_loss", dying)
        with pytest.raises(Killed):
            train(out, **given)
    assert not (out / "model").exists()
    torn = out / "run" / "checkpoint-3"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    train(out, **given)
    assert not torn.exists()
    assert losses(out) == losses(policy_run)


def test_resuming_with_other_settings_is_refused(
    learning_data: ModuleType, question_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train(out, recipe=learning_data.small_recipe(steps=1), spatial=question_folder)
    with pytest.raises(ValueError, match=r"a run with recipe.learning_rate=0.001, this one has 0.1"):
        train(out, recipe=learning_data.small_recipe(steps=1, learning_rate=0.1), spatial=question_folder)
    before = (out / "model" / "model.safetensors").stat().st_mtime_ns
    train(out, recipe=learning_data.small_recipe(steps=1), spatial=question_folder)
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == before, "a finished run is left alone"


def test_a_loss_that_is_no_number_stops_the_run(
    learning_data: ModuleType, question_folder: Path, tmp_path: Path
) -> None:
    recipe = learning_data.small_recipe(steps=30, learning_rate=1e30, warmup=0.0, max_grad_norm=1e30)
    with pytest.raises(
        ValueError, match=r"is not a number, first in step \d+ \(spatial records .*lower the learning rate"
    ):
        train(tmp_path / "nan", recipe=recipe, spatial=question_folder)
    assert not (tmp_path / "nan" / "model").exists()


@pytest.mark.parametrize("changes", [{}, {"micro_batch": 2}, {"pack_tokens": 100, "batch_size": 2}])
def test_the_batch_that_broke_the_loss_is_named_and_the_checkpoint_before_it_stays(
    learning_data: ModuleType,
    question_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, int],
) -> None:
    """Found out at the next line of the log, steps later: still the one step and what it learnt from are told."""
    recipe = learning_data.small_recipe(steps=6, save_every=2, log_every=6, **changes)
    network = build_network(recipe, backbone="tiny", head=None, data=None, seed=0)
    batches, _ = build_batches(recipe, model=network, robot=None, spatial=[question_folder], weights=None, seed=0)
    passes = recipe.split(1)[1]
    broken = 2 * passes  # the first pass of step 3
    compute, calls = VLAModel._language_loss, iter(range(100))

    def breaking(self: VLAModel, batch: dict[str, torch.Tensor], **given: torch.Tensor) -> dict[str, torch.Tensor]:
        found = compute(self, batch, **given)
        return {**found, "loss": found["loss"] * (float("nan") if next(calls) == broken else 1.0)}

    monkeypatch.setattr(VLAModel, "_language_loss", breaking)
    with pytest.raises(ValueError, match="is not a number, first in step 3") as caught:
        train(tmp_path / "nan", recipe=recipe, spatial=question_folder)
    assert f"({batches.told(broken)})" in str(caught.value)
    newest = latest_checkpoint(tmp_path / "nan" / "run")
    assert newest is not None
    assert newest.name == "checkpoint-2"


def test_full_disk_while_saving_keeps_the_last_whole_checkpoint(
    learning_data: ModuleType, question_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    save, out = safetensors.torch.save_file, tmp_path / "full"

    def full(tensors: object, path: object, **kwargs: object) -> None:
        if "checkpoint-4" in str(path):
            Path(str(path)).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(tensors, path, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(OSError, match=r"\(.*No space left.*goes on from the last whole checkpoint"):
            train(out, recipe=learning_data.small_recipe(), spatial=question_folder)
    newest = latest_checkpoint(out / "run")
    assert newest is not None
    assert newest.name == "checkpoint-2"
    assert (train(out, recipe=learning_data.small_recipe(), spatial=question_folder) / "config.json").is_file()
    shutil.rmtree(out)


def test_recipe_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"unknown recipe setting 'learning_rat': did you mean 'learning_rate'"):
        Recipe.from_dict({"learning_rat": 1.0})
    with pytest.raises(ValueError, match="image_size 100 is no multiple of 28: try 84 or 112"):
        Recipe(name="x", steps=1, batch_size=1, learning_rate=1e-3, image_size=100)
    with pytest.raises(ValueError, match=r"reply_balance is 2, expected 0 \(tokens\) to 1 \(replies\)"):
        Recipe(name="x", steps=1, batch_size=1, learning_rate=1e-3, reply_balance=2)


def test_balanced_replies_weigh_the_same_however_a_step_is_divided(
    learning_data: ModuleType, tmp_path: Path, upstream_layout: ModuleType
) -> None:
    upstream_layout.write(tmp_path / "data" / "a.parquet", upstream_layout.rows())
    for name, micro in (("whole", 0), ("parts", 1)):
        recipe = learning_data.small_recipe(
            reply_balance=0.5, pack_tokens=400, batch_size=2, micro_batch=micro, steps=2, optimizer="adamw"
        )
        train(tmp_path / name, recipe=recipe, spatial=tmp_path / "data")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


def test_a_packed_run_is_one_pass_over_the_packs(
    learning_data: ModuleType, robot_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its length comes from the data, and it says how full its packs are; what cannot be packed is refused."""
    learning_data.write_questions(tmp_path / "data", count=30)
    recipe = learning_data.small_recipe(steps=None, batch_size=2, pack_tokens=200, max_tokens=60)
    train(tmp_path / "run", recipe=recipe, spatial=tmp_path / "data")
    assert "30 spatial rows of 1160 tokens in packs 96.7% full, 3 steps" in capsys.readouterr().out
    assert len(losses(tmp_path / "run")) == 3, "six packs of five, two a step"
    with pytest.raises(ValueError, match=r"no conversation of at most 20 tokens \(30 are longer, 0 unusable\)"):
        train(tmp_path / "short", recipe=learning_data.small_recipe(pack_tokens=20, steps=1), spatial=tmp_path / "data")
    packing = learning_data.small_recipe(pack_tokens=200)
    with pytest.raises(ValueError, match=r"packs conversations only: leave data.robot out"):
        train(tmp_path / "policy", recipe=packing, head=HEAD, robot=robot_folder)
