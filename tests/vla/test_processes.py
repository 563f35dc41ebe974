"""Several processes train as one does: data parallel by the command, sharded by layer (FSDP2); CPUs, gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from vst_vla.scripts.cli import main
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.data.mixture import SPATIAL
from vst_vla.vla.data.questions import QuestionRows
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.sources import build_batches, find_labels

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "accelerate"
SETTINGS = ["steps=3", "batch_size=4", "micro_batch=1", "pack_tokens=400", "max_tokens=400", "save_every=1"]


PACKS = ["steps=3", "batch_size=2", "micro_batch=1", "pack_tokens=45", "max_tokens=45", "save_every=3", "bf16=false"]
PACKS += ["max_pixels=3136"]


def launch(*command: str, processes: int) -> None:
    """Runs a script or module in so many processes of one CPU thread each."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, *command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def curve(out: Path) -> list[tuple[float, float, float]]:
    """Loss, norm of the gradient and accuracy by step."""
    newest = max((out / "run").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    return [(line["loss"], line["grad_norm"], line["spatial/token_accuracy"]) for line in history if "loss" in line]


def on_one_process_only(key: str, data: Path, *, recipe: str, settings: list[str]) -> bool:
    """Whether in the run of two processes one has such a batch while the other has none."""
    values = yaml.safe_load((ROOT / "configs" / "recipe" / f"{recipe}.yaml").read_text())
    made = Recipe.from_dict(values | {k: yaml.safe_load(v) for k, v in (s.split("=") for s in settings)})
    labels = find_labels([data]) if made.lessons else None
    batches, _ = build_batches(
        made,
        model=VLAModel(load_backbone("tiny")),
        robot=None,
        spatial=[data],
        weights=None,
        labels=labels,
        seed=0,
        num_processes=2,
    )
    has = [key in batches[item][SPATIAL] for item in range(len(batches))]
    return any(first != second for first, second in zip(has[::2], has[1::2], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["false", "selective"])
def test_two_processes_and_one_train_alike(upstream_layout: ModuleType, tmp_path: Path, way: str) -> None:
    """The same losses and weights; some packs are text alone: one process then has pictures and the other none."""
    kinds = upstream_layout.rows()
    rows = [kinds[3], kinds[0]] * 4 + [kinds[5]] * 60  # boxes and a picture, text
    upstream_layout.write(tmp_path / "data" / "a.parquet", rows)
    train = ["train", "recipe=tiny_spatial", f"data.spatial={tmp_path / 'data'}"]
    train += [f"recipe.{setting}" for setting in [*SETTINGS, "log_every=1", "num_workers=0"]]
    assert main([*train, f"out={tmp_path / '1'}"]) == 0
    train += [f"out={tmp_path / '2'}", f"+recipe.gradient_checkpointing={way}"]
    launch("-m", "vst_vla.scripts.cli", *train, processes=2)
    assert on_one_process_only("pixel_values", tmp_path / "data", recipe="tiny_spatial", settings=SETTINGS)
    one, two = (torch.tensor(curve(tmp_path / str(count))) for count in (1, 2))
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)
    ours, theirs = (load_backbone(str(tmp_path / str(count) / "model")).model for count in (1, 2))
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def lessons(out: Path) -> list[dict[str, float]]:
    """What each step logged of the lessons beside the conversations."""
    history = json.loads((out / "run" / "checkpoint-3" / "trainer_state.json").read_text())["log_history"]
    return [{key: value for key, value in line.items() if "/" in key} for line in history if "loss" in line]


@pytest.mark.slow
@pytest.mark.parametrize("words", [0.0, 1.0])
def test_two_processes_teach_what_pictures_show_as_one_does(
    learning_data: ModuleType, tmp_path: Path, words: float
) -> None:
    """Also where the pictures of one are without labels, or nothing of the language model is used."""
    learning_data.write_labelled_questions(tmp_path / "data")
    settings = [*PACKS, "readout_weight=1.0", f"spatial_weight={words}", f"geometry_depth={words / 2}"]
    settings += [f"pointing_weight={words}", f"gaze_weight={words}", f"recall_weight={words}"]
    train = ["train", "recipe=tiny_sight", f"data.spatial={tmp_path / 'data'}"]
    train += [f"++recipe.{setting}" for setting in [*settings, "log_every=1", "num_workers=0"]]
    assert on_one_process_only("token_cells", tmp_path / "data", recipe="tiny_sight", settings=settings)
    assert main([*train, f"out={tmp_path / '1'}"]) == 0
    launch("-m", "vst_vla.scripts.cli", *train, f"out={tmp_path / '2'}", processes=2)
    one, two = lessons(tmp_path / "1"), lessons(tmp_path / "2")
    assert [sorted(line) for line in two] == [sorted(line) for line in one]
    assert any("readouts/loss" in line for line in one)
    assert any("pointing/hit" in line for line in one) == bool(words)
    for mine, other in zip(one, two, strict=True):
        assert other == pytest.approx(mine, rel=1e-3, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["plain", "selective", "compiled", "replicated"])
def test_layers_spread_over_two_processes_have_the_same_gradients(
    upstream_layout: ModuleType, tmp_path: Path, way: str
) -> None:
    """Pictures on one process, text alone on the other: both go through every layer; gathered weights load whole."""
    upstream_layout.write(tmp_path / "a.parquet", upstream_layout.rows())
    rows = QuestionRows(tmp_path, fov=FovTarget(width=112, hfov_deg=45), max_pixels=12544)
    model = VLAModel(load_backbone("tiny"))
    collator = Collator(model.processor)
    batches = [collator.pack([rows[0], rows[1]]), collator.pack([rows[5]])]
    torch.save(batches, tmp_path / "batches.pt")
    script = str(Path(__file__).with_name("shard.py"))
    files = [str(path) for path in (CONFIGS / "fsdp2.yaml", tmp_path / "batches.pt", tmp_path / "out.pt")]
    launch(script, *files, way, processes=2)
    found = torch.load(tmp_path / "out.pt")
    (sum(model(**batch)["loss"] for batch in batches) / 2).backward()
    expected = dict(model.named_parameters())
    assert found["gradients"].keys() == expected.keys()
    for name, gradient in found["gradients"].items():
        torch.testing.assert_close(gradient, expected[name].grad, rtol=1e-4, atol=1e-6)
    model.load_state_dict(found["weights"])


@pytest.mark.parametrize(("name", "kind"), [("one_gpu", "NO"), ("fsdp2", "FSDP"), ("fsdp2_nodes", "FSDP")])
def test_accelerate_reads_the_files(name: str, kind: str) -> None:
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert (config.distributed_type, config.mixed_precision) == (kind, "bf16")


def test_the_files_for_accelerate_name_layers_that_exist_and_agree() -> None:
    one, several = (yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) for name in ("fsdp2", "fsdp2_nodes"))
    assert one["fsdp_config"] == several["fsdp_config"]
    classes = {type(module).__name__ for module in load_backbone("tiny").model.modules()}
    assert set(one["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"].split(",")) <= classes


@pytest.mark.parametrize(
    ("name", "rate", "vision_rate", "warmup", "batch"),
    [("sft", 5e-5, 5e-6, 0.1, 128), ("cold_start", 1e-5, 1e-6, 0.03, 64)],
)
def test_recipes_have_upstreams_values(name: str, rate: float, vision_rate: float, warmup: float, batch: int) -> None:
    recipe = Recipe.from_dict(yaml.safe_load((ROOT / "configs" / "recipe" / f"{name}.yaml").read_text()))
    assert (recipe.learning_rate, recipe.warmup, recipe.batch_size) == (rate, warmup, batch)
    assert recipe.learning_rate * recipe.vision_lr_ratio == pytest.approx(vision_rate)
    assert recipe.pack_tokens == recipe.max_tokens == 16384
    assert recipe.split(8) == (recipe.micro_batch, batch // recipe.micro_batch // 8)
    with pytest.raises(ValueError, match=f"batch_size={batch} is no multiple of 5 processes"):
        recipe.split(5)
