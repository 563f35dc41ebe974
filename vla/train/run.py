"""One training run from start to finished checkpoint: data in, OUT/model out, resumable in between.

OUT/run holds Trainer's checkpoints, TensorBoard's log and `settings.json`; OUT/model appears when the run is complete.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments, set_seed

from vst_vla.vla.backbone import add_lora, freeze, load_backbone
from vst_vla.vla.contracts import LIBERO_ACTION, LIBERO_STATE
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.data.mixture import ROBOT, SPATIAL, Rows, Source, StepBatches, split_rows
from vst_vla.vla.data.questions import QuestionRows
from vst_vla.vla.data.robot import DEFAULT_READER, ReaderOptions, RobotDataset
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.model import VLAModel
from vst_vla.vla.settings import claim_run
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.trainer import VLATrainer, latest_checkpoint
from vst_vla.vla.transforms import build_transforms

log = logging.getLogger(__name__)


def train(
    out: str | Path,
    *,
    recipe: Recipe,
    backbone: str = "tiny",
    head: Mapping[str, Any] | None = None,
    robot: str | Path | Sequence[str | Path] | None = None,
    reader: ReaderOptions = DEFAULT_READER,
    spatial: str | Path | Sequence[str | Path] | None = None,
    seed: int = 0,
) -> Path:
    """Trains a backbone on spatial records, or a policy on demonstrations with spatial records mixed in.

    Args:
        out: folder of the run.
        recipe: how.
        backbone: a name or folder, see `load_backbone`.
        head: the action head's configuration; used with `robot`.
        robot: LeRobot dataset folders or hub names, see `RobotDataset`. None trains the backbone on `spatial` alone.
        reader: how those are read.
        spatial: parquet files or folders in VST's record format.
        seed: of weights, order and augmentation.

    Returns:
        The finished checkpoint, OUT/model.

    Raises:
        ValueError: for data that does not fit, or an OUT that holds a run with other settings.
    """
    out = Path(out)
    model_folder, run_folder = out / "model", out / "run"
    read = {key: value for key, value in dataclasses.asdict(reader).items() if key != "cache_gib"}
    settings = _settings(recipe, backbone=backbone, head=head, robot=robot, reader=read, spatial=spatial, seed=seed)
    claim_run(run_folder, settings, out=out, advice="give another out=…, or overwrite=true to start afresh")
    if model_folder.is_dir():
        print(f"{model_folder} is finished already; give another out=… to train again")
        return model_folder
    set_seed(seed)
    demonstrations = None if robot is None else RobotDataset(robot, chunk=int((head or {})["chunk"]), options=reader)
    fov = FovTarget(width=recipe.fov_width, hfov_deg=recipe.fov_deg)
    questions = None if spatial is None else QuestionRows(spatial, fov=fov, max_pixels=recipe.max_pixels)
    model = _build_model(recipe, backbone=backbone, head=head, data=demonstrations, seed=seed)
    batches = _build_batches(recipe, model=model, robot=demonstrations, spatial=questions, seed=seed)
    trainer = VLATrainer(
        model=model,
        args=_arguments(recipe, run_folder=run_folder, seed=seed),
        train_dataset=batches,
        weights={SPATIAL: recipe.spatial_weight if demonstrations else 1.0},
        vision_lr_ratio=recipe.vision_lr_ratio,
        optimizer=recipe.optimizer,
    )
    checkpoint = latest_checkpoint(run_folder)
    if checkpoint is not None:
        print(f"going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.is_world_process_zero():
        model.save(model_folder)
    return model_folder


def _build_model(
    recipe: Recipe, *, backbone: str, head: Mapping[str, Any] | None, data: RobotDataset | None, seed: int
) -> VLAModel:
    loaded = load_backbone(backbone, seed=seed, dtype="bfloat16" if recipe.bf16 else "auto")
    if recipe.lora_rank:
        add_lora(loaded, rank=recipe.lora_rank, alpha=2.0 * recipe.lora_rank)
    freeze(loaded, parts=recipe.freeze)
    if data is None:
        return VLAModel(loaded)
    assert head is not None
    spec = ModelSpec(
        head=dict(head),
        state=LIBERO_STATE,
        action=LIBERO_ACTION,
        image_keys=data.image_keys,
        image_size=recipe.image_size,
        crop=recipe.crop,
        backbone=loaded.name,
        revision=loaded.revision,
        recipe=recipe.name,
    )
    return VLAModel(loaded, spec=spec, norm_stats=data.norm_stats)


def _build_batches(
    recipe: Recipe, *, model: VLAModel, robot: RobotDataset | None, spatial: Rows | None, seed: int
) -> StepBatches:
    num_robot, num_spatial = split_rows(recipe.batch_size, spatial_ratio=recipe.spatial_ratio if spatial else 0.0)
    sources, transforms = [], []
    if robot is not None:
        assert model.spec is not None
        sources.append(Source(name=ROBOT, rows=robot, per_step=num_robot))
        transforms = build_transforms(model.spec, stats=robot.norm_stats, augmentation=recipe.augmentation)
    else:
        num_spatial = recipe.batch_size
    if spatial is not None:
        sources.append(Source(name=SPATIAL, rows=spatial, per_step=num_spatial))
    collator = Collator(
        model.processor,
        image_keys=robot.image_keys if robot else (),
        num_slots=int(model.head.num_slots) if model.head is not None else 0,
        max_tokens=recipe.max_tokens,
    )
    return StepBatches(sources, collator=collator, transforms=transforms, num_steps=recipe.steps, seed=seed)


def _arguments(recipe: Recipe, *, run_folder: Path, seed: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(run_folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup * recipe.steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.bf16,
        gradient_checkpointing=recipe.gradient_checkpointing,
        logging_steps=recipe.log_every,
        save_steps=recipe.save_every,
        save_total_limit=2,
        report_to=["tensorboard"],
        dataloader_num_workers=recipe.num_workers,
        remove_unused_columns=False,
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )


def _settings(recipe: Recipe, **inputs: Any) -> dict[str, Any]:
    """What must be the same for a run to go on, as plain JSON values."""
    plain = {key: _plain(value) for key, value in inputs.items()}
    settings: dict[str, Any] = json.loads(json.dumps({"recipe": dataclasses.asdict(recipe), **plain}, default=str))
    return settings


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
