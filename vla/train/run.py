"""One training run from start to finished checkpoint: data in, OUT/model out, resumable in between.

OUT/run holds Trainer's checkpoints, TensorBoard's log and `settings.json`; OUT/model appears when the run is complete.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainingArguments, set_seed

from vst_vla.vla.blocks import SELECTIVE, compile_blocks
from vst_vla.vla.data.mixture import StepBatches
from vst_vla.vla.data.robot import DEFAULT_READER, ReaderOptions, RobotDataset
from vst_vla.vla.model import VLAModel
from vst_vla.vla.settings import claim_run
from vst_vla.vla.train.average import take_average
from vst_vla.vla.train.network import build_network, halve_weights
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.settings import settings_of
from vst_vla.vla.train.sources import Paths, build_batches, find_labels
from vst_vla.vla.train.trainer import VLATrainer, latest_checkpoint


def train(
    out: str | Path,
    *,
    recipe: Recipe,
    backbone: str = "tiny",
    head: Mapping[str, Any] | None = None,
    robot: str | Path | Sequence[str | Path] | None = None,
    reader: ReaderOptions = DEFAULT_READER,
    spatial: Paths | Sequence[Paths] | None = None,
    weights: Sequence[float] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Trains a backbone on spatial records, or a policy on demonstrations with spatial records mixed in.

    Args:
        out: folder of the run.
        recipe: how.
        backbone: a name or folder, see `load_backbone`.
        head: the action head's configuration; used with `robot`.
        robot: LeRobot dataset folders or hub names, see `RobotDataset`. None trains the backbone on `spatial` alone.
        reader: how those are read.
        spatial: parquet files or folders in VST's record format; with `weights`, sets of them.
        weights: how often a conversation comes from each set, in relation to the others: general data beside spatial
            data, or an earlier stage's again. None walks through all conversations as one set.
        seed: of weights, order and augmentation.
        overwrite: throw away what a run left in `out`.

    Returns:
        The finished checkpoint, OUT/model.

    Raises:
        ValueError: for data that does not fit, or an OUT that holds a run with other settings.
    """
    out = Path(out)
    model_folder, run_folder = out / "model", out / "run"
    read = {key: value for key, value in dataclasses.asdict(reader).items() if key != "cache_gib"}
    settings = settings_of(
        recipe, backbone=backbone, head=head, robot=robot, reader=read, spatial=spatial, weights=weights, seed=seed
    )
    processes = PartialState(cpu=not torch.cuda.is_available())
    with processes.main_process_first():
        if overwrite and processes.is_main_process:
            for folder in (run_folder, model_folder):
                shutil.rmtree(folder, ignore_errors=True)
        claim_run(run_folder, settings, out=out, advice="give another out=…, or overwrite=true to start afresh")
    if model_folder.is_dir():
        processes.print(f"{model_folder} is finished already; give another out=… to train again")
        return model_folder
    set_seed(seed)
    demonstrations = _demonstrations(recipe, robot, head=head, reader=reader) if robot is not None else None
    sets = _sets(spatial, weights=weights)
    labels = find_labels(sets) if recipe.lessons and demonstrations is None else None
    build = partial(build_network, recipe, backbone=backbone, head=head, data=demonstrations, labels=labels, seed=seed)
    model = build()
    with processes.local_main_process_first():
        batches, steps = build_batches(
            recipe,
            model=model,
            robot=demonstrations,
            spatial=sets,
            weights=weights,
            labels=labels,
            seed=seed,
            num_processes=processes.num_processes,
        )
    processes.print(_told(batches, steps=steps))
    if recipe.compile:
        compile_blocks(model.vlm)
    trainer = VLATrainer(
        model=model,
        args=_arguments(recipe, steps=steps, run_folder=run_folder, seed=seed, num_processes=processes.num_processes),
        train_dataset=batches,
        weights=recipe.loss_weights(),
        vision_lr_ratio=recipe.vision_lr_ratio,
        optimizer=recipe.optimizer,
        ema=recipe.ema,
    )
    with processes.main_process_first():
        checkpoint = latest_checkpoint(run_folder)
    if checkpoint is not None:
        processes.print(f"going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if recipe.ema:
        take_average(trainer.inner_optimizer)
    finished = _gathered(trainer, build) if trainer.is_fsdp_enabled else model
    if trainer.is_world_process_zero():
        if recipe.keeps_bf16:
            halve_weights(finished)
        finished.save(model_folder)
    processes.wait_for_everyone()
    return model_folder


def _demonstrations(
    recipe: Recipe, robot: str | Path | Sequence[str | Path], *, head: Mapping[str, Any] | None, reader: ReaderOptions
) -> RobotDataset:
    """What a policy learns from. Raises ValueError as `RobotDataset`, or for a lesson that is for answers alone."""
    if recipe.recall_weight:
        raise ValueError(
            f"recipe.recall_weight is {recipe.recall_weight}, but demonstrations have no answers that could recall: "
            "set it to 0, or leave data.robot out"
        )
    chunk = int((head or {})["chunk"])
    return RobotDataset(robot, chunk=chunk, options=reader, geometry=bool(recipe.lessons), history=recipe.history or ())


def _told(batches: StepBatches, *, steps: int) -> str:
    """One line about what is trained on."""
    rows = ", ".join(f"{len(source.rows)} {source.name} rows" for source in batches.sources)
    packed = [source.packs for source in batches.sources if source.packs is not None]
    filled = "".join(f" of {packs.num_tokens} tokens in packs {packs.fullness:.1%} full" for packs in packed)
    return f"{rows}{filled}, {steps} steps"


def _gathered(trainer: VLATrainer, build: Callable[[], VLAModel]) -> VLAModel:
    """The network with the weights of all shards; on processes but the first, without them."""
    weights = trainer.accelerator.get_state_dict(trainer.model)
    model = build()
    if trainer.is_world_process_zero():
        model.load_state_dict(weights)
    return model


def _arguments(recipe: Recipe, *, steps: int, run_folder: Path, seed: int, num_processes: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(run_folder),
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=recipe.split(num_processes)[1],
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.computes_in_bf16,
        gradient_checkpointing=bool(recipe.gradient_checkpointing),
        gradient_checkpointing_kwargs={SELECTIVE: recipe.gradient_checkpointing == SELECTIVE},
        logging_steps=recipe.log_every,
        logging_nan_inf_filter=False,  # it would wait for the GPU at every step; `log` refuses what is no number
        save_steps=recipe.save_every,
        save_total_limit=2,
        report_to=["tensorboard"],
        dataloader_num_workers=recipe.num_workers,
        remove_unused_columns=False,
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )


def _sets(spatial: Paths | Sequence[Paths] | None, *, weights: Sequence[float] | None) -> list[Paths]:
    """The sets of conversations that `train` was given: one, or one a weight."""
    if spatial is None:
        return []
    if weights is None:
        return [spatial]  # type: ignore[list-item]
    return [spatial] if isinstance(spatial, str | Path) else list(spatial)
