"""Group-relative policy optimisation of a backbone on verifiable questions, by `trl.GRPOTrainer` (arXiv 2402.03300).

OUT/run holds Trainer's checkpoints, TensorBoard's log and `settings.json`; OUT/model appears when the run is complete.
TRL is an extra: `pip install 'vst-vla[rl]'`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.model import VLAModel
from vst_vla.vla.settings import claim_run
from vst_vla.vla.train.rewards import reward_terms
from vst_vla.vla.train.rl_order import PassOrder
from vst_vla.vla.train.rl_recipe import RLRecipe
from vst_vla.vla.train.rl_rows import rl_dataset
from vst_vla.vla.train.settings import settings_of
from vst_vla.vla.train.silent import without_silent
from vst_vla.vla.train.trainer import latest_checkpoint


def train_grpo(
    out: str | Path,
    *,
    recipe: RLRecipe,
    data: str | Path | Sequence[str | Path],
    backbone: str = "tiny",
    seed: int = 0,
) -> Path:
    """Trains a backbone on rows of VST's RL files.

    Args:
        out: folder of the run.
        recipe: how.
        data: parquet files or folders, see `rl_rows.rl_dataset`.
        backbone: a name or folder, see `load_backbone`.
        seed: of order and sampling.

    Returns:
        The finished checkpoint, OUT/model.

    Raises:
        ImportError: TRL is not installed.
        ValueError: for data that does not fit, or an OUT that holds a run with other settings.
    """
    trl = _library()
    out = Path(out)
    model_folder, run_folder = out / "model", out / "run"
    settings = settings_of(recipe, data=data, backbone=backbone, seed=seed)
    claim_run(run_folder, settings, out=out, advice="give another out=…, or overwrite=true to start afresh")
    if model_folder.is_dir():
        print(f"{model_folder} is finished already; give another out=… to train again")
        return model_folder
    set_seed(seed)
    fov = FovTarget(width=recipe.fov_width, hfov_deg=recipe.fov_deg)
    rows = rl_dataset(
        data, fov=fov, max_pixels=recipe.max_pixels, direct_levels=recipe.direct_levels, modes=recipe.modes
    )
    loaded = load_backbone(backbone, seed=seed, dtype="bfloat16" if recipe.bf16 else "auto")
    trainer = _trainer_class(trl)(
        model=loaded.model,
        processing_class=loaded.processor,
        reward_funcs=reward_terms(recipe.reward_factors, modes={mode for modes in rows["modes"] for mode in modes}),
        args=_arguments(trl, recipe, run_folder=run_folder, seed=seed),
        train_dataset=rows,
    )
    checkpoint = latest_checkpoint(run_folder)
    if checkpoint is not None:
        print(f"going on from {checkpoint}")
    with padded_left(loaded.processor.tokenizer):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.is_world_process_zero():
        VLAModel(loaded).save(model_folder)
    return model_folder


@contextmanager
def padded_left(tokenizer: Any) -> Iterator[None]:
    """A tokenizer that pads on the left for a while.

    TRL pads a batch's prompts on the left and takes the places of pictures from its own call of the processor: padded
    on the right, prompts of unequal length would have their pictures where other tokens stand.
    """
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    try:
        yield
    finally:
        tokenizer.padding_side = side


def _trainer_class(trl: Any) -> Any:
    class SignalTrainer(trl.GRPOTrainer):
        """GRPOTrainer that leaves replies without an advantage out of the loss, and goes on from its checkpoints."""

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            """A checkpoint's weights have the released files' names, which Trainer itself would find none of."""
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                super()._load_from_checkpoint(resume_from_checkpoint, model)
            else:
                saved = load_backbone(resume_from_checkpoint, dtype=self.model.dtype).model
                self.model.load_state_dict(saved.state_dict())

        def _get_train_sampler(self, dataset: Any = None) -> PassOrder:
            return PassOrder(super()._get_train_sampler(dataset))

        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            batch = without_silent(super()._generate_and_score_completions(inputs))
            if "num_items_in_batch" in batch:
                tokens = self.accelerator.gather(batch["completion_mask"].sum())
                batch["num_items_in_batch"] = tokens.sum().clamp(min=1)
            return batch

    return SignalTrainer


def _arguments(trl: Any, recipe: RLRecipe, *, run_folder: Path, seed: int) -> Any:
    passes = recipe.prompts * recipe.group // recipe.rows_at_once
    has_gpu = torch.cuda.is_available()
    return trl.GRPOConfig(
        output_dir=str(run_folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.rows_at_once,
        gradient_accumulation_steps=passes,
        steps_per_generation=passes * recipe.updates,
        num_generations=recipe.group,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        max_completion_length=recipe.max_new_tokens,
        epsilon=recipe.clip_low,
        epsilon_high=recipe.clip_high,
        beta=recipe.kl,
        loss_type="dapo",
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=round(recipe.warmup * recipe.steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.bf16,
        gradient_checkpointing=recipe.gradient_checkpointing,
        logging_steps=recipe.log_every,
        save_steps=recipe.save_every,
        save_total_limit=2,
        report_to=["tensorboard"],
        remove_unused_columns=False,
        seed=seed,
        use_cpu=not has_gpu,
        use_vllm=has_gpu and importlib.util.find_spec("vllm") is not None,
        vllm_mode="colocate",
    )


def _library() -> Any:
    try:
        import trl
    except ImportError as error:
        raise ImportError("reinforcement learning needs TRL: pip install 'vst-vla[rl]'") from error
    return trl
