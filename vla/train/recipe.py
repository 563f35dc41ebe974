"""How a run is trained, as data: length, batch, learning rates, mixture, precision."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch

from vst_vla.vla.blocks import SELECTIVE
from vst_vla.vla.contracts import check_history, check_names, unknown_name
from vst_vla.vla.data.mixture import ROBOT, SPATIAL
from vst_vla.vla.geometry.supervision import ALIGNMENT, GAZE, POINTING, READOUTS, RECALL
from vst_vla.vla.spec import LEAST_SHARE
from vst_vla.vla.train.optimizer import ADAMW, OPTIMIZERS
from vst_vla.vla.transforms import Augmentation

AUTO = "auto"
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""Of x86 (two) and ARM processors, as PyTorch names them."""
LESSON_WEIGHTS = {
    READOUTS: "readout_weight",
    ALIGNMENT: "alignment_weight",
    POINTING: "pointing_weight",
    GAZE: "gaze_weight",
    RECALL: "recall_weight",
}
"""Lesson of `geometry.supervision` -> the setting that is the factor on its loss."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training run; `configs/recipe/*.yaml` hold named ones.

    Attributes:
        name: of the recipe, stored in the checkpoint.
        steps: optimiser steps; None for as many as `epochs` take.
        epochs: passes over the data, or over the first set of conversations by weight, where `steps` is None.
        batch_size: rows of a step, robot and spatial together, over all processes; packs of them when packing.
        micro_batch: rows, or packs, that a process computes at once; 0 for all of its share of a step.
        pack_tokens: conversations are packed into rows of at most so many tokens, without padding; 0 pads them. For
            runs on conversations alone.
        spatial_ratio: share of those rows that are spatial questions, in a policy run.
        robot_weight, spatial_weight: factors on the losses of the robot and of the spatial rows. On conversations
            alone, a spatial_weight of 0 leaves their words out: only what the next ones ask for is learnt.
        readout_weight, alignment_weight: factors on the losses of what the visual tokens of robot rows are taught
            (`geometry.readouts`, `geometry.alignment`), or of conversations in a run on these alone; 0 leaves it out.
            They need demonstrations, or conversations, with labels.
        pointing_weight: factor on the loss of names, in such conversations and in instructions, that are to point at
            what they mean (`geometry.pointing`).
        gaze_weight: factor on the loss of their attention to it (`geometry.gaze`), in the last of the layers below.
        recall_weight: factor on the loss of answers that are to be said from the places of what their question names
            (`geometry.recall`), in the layer behind; for runs on conversations alone.
        geometry_depth: share of the language model's layers after which those tokens are taught, 0 before the first.
        ema: share of an average of the weights that every step keeps, such as 0.999; the finished checkpoint holds the
            average. 0 for the last weights.
        optimizer: adamw, or muon for transformers that start from random weights (`train.optimizer`).
        learning_rate: peak; cosine decay to zero after a linear rise.
        warmup: share of the steps that the rise takes.
        vision_lr_ratio: the vision tower's learning rate over that of the rest.
        lora_rank: low-rank adapters instead of full training; 0 for none.
        lora_parts: backbone parts that get them, out of vision, merger, language.
        freeze: backbone parts that are not trained, out of vision, merger, language.
        bf16: bfloat16 arithmetic. True also keeps frozen weights and the finished checkpoint so, as the released ones
            are; "auto" computes so where the processor can and keeps all weights in float32: for a tiny network.
        gradient_checkpointing: True computes activations again in the backward pass, for less memory and about a third
            more time; "selective" keeps matrix products and attention and computes the rest again (`blocks`).
        compile: whether transformer blocks are compiled (`blocks.compile_blocks`); compiled ones keep what is expensive
            to compute again, as "selective" does.
        max_tokens: longest question.
        reply_balance: how far long and short replies of conversations weigh alike in the loss: 0 counts every token
            alike, as VST does; 1 every reply; 0.5 is InternVL 2.5's square averaging (arXiv 2412.05271).
        image_size: side of the policy's pictures, px.
        crop: share of a policy picture's side that is kept, at a random place in training, in the centre when acting.
        history: control steps before the present of each further picture of every camera, such as (8,), see
            `spec.ModelSpec`; None for the present ones alone.
        state: whether the policy is given the robot's state.
        camera_embedding: whether a learned vector tells the cameras apart.
        least_action_share: see `spec.ModelSpec`; 0 scales every action dimension to its own range, as VST does.
        fov_width, fov_deg: the camera that pictures with 3-D boxes are brought to (`fov.FovTarget`).
        max_pixels: budget of a question's other pictures.
        augmentation: how strongly robot samples are varied.
        save_every, log_every: steps between checkpoints and log lines.
        num_workers: processes that prepare batches.
    """

    name: str
    steps: int | None
    batch_size: int
    learning_rate: float
    epochs: float = 1.0
    micro_batch: int = 0
    pack_tokens: int = 0
    optimizer: str = ADAMW
    spatial_ratio: float = 0.25
    robot_weight: float = 1.0
    spatial_weight: float = 1.0
    readout_weight: float = 0.0
    alignment_weight: float = 0.0
    pointing_weight: float = 0.0
    gaze_weight: float = 0.0
    recall_weight: float = 0.0
    geometry_depth: float = 0.75
    ema: float = 0.0
    warmup: float = 0.03
    vision_lr_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    lora_rank: int = 0
    lora_parts: tuple[str, ...] = ("language",)
    freeze: tuple[str, ...] = ()
    bf16: bool | str = False
    gradient_checkpointing: bool | str = False
    compile: bool = False
    max_tokens: int = 4096
    reply_balance: float = 0.0
    image_size: int = 224
    crop: float = 0.94
    history: tuple[int, ...] | None = None
    state: bool = True
    camera_embedding: bool = True
    least_action_share: float = LEAST_SHARE
    fov_width: int = 960
    fov_deg: float = 69.16
    max_pixels: int = 3_211_264
    augmentation: Augmentation = field(default_factory=Augmentation)
    save_every: int = 500
    log_every: int = 25
    num_workers: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "save_every", "log_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"recipe.{name} is {getattr(self, name)}, expected at least 1")
        if self.epochs <= 0:
            raise ValueError(f"recipe.epochs is {self.epochs}, expected more than 0")
        for name in ("robot_weight", "spatial_weight", *LESSON_WEIGHTS.values()):
            if not getattr(self, name) >= 0:
                raise ValueError(f"recipe.{name} is {getattr(self, name)}, expected 0 or more")
        if not 0 <= self.geometry_depth <= 1:
            raise ValueError(f"recipe.geometry_depth is {self.geometry_depth}, expected 0 to 1: try 0.75")
        if not 0 <= self.reply_balance <= 1:
            raise ValueError(
                f"recipe.reply_balance is {self.reply_balance}, expected 0 (tokens) to 1 (replies): try 0.5"
            )
        if not 0 <= self.ema < 1:
            raise ValueError(f"recipe.ema is {self.ema}, expected 0 (off) or less than 1: try 0.999")
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("recipe.optimizer", self.optimizer, OPTIMIZERS)
        self._check_blocks()
        self._check_pictures()

    def _check_blocks(self) -> None:
        if self.gradient_checkpointing not in (False, True, SELECTIVE):
            choices = ("false", "true", SELECTIVE)
            raise unknown_name("recipe.gradient_checkpointing", str(self.gradient_checkpointing), choices)
        if self.bf16 not in (False, True, AUTO):
            raise unknown_name("recipe.bf16", str(self.bf16), ("false", "true", AUTO))
        if not isinstance(self.compile, bool):
            raise ValueError(f"recipe.compile is {self.compile}, expected true or false")
        if self.compile and self.gradient_checkpointing == SELECTIVE:
            raise ValueError(
                f"recipe.compile=true chooses by itself what to keep, recipe.gradient_checkpointing is {SELECTIVE}: "
                "set it to false, or to true for the least memory"
            )

    def _check_pictures(self) -> None:
        if self.history is not None:
            check_history(self.history)
        if self.image_size % 28:
            low = self.image_size // 28 * 28
            raise ValueError(f"recipe.image_size {self.image_size} is no multiple of 28: try {low} or {low + 28}")

    @property
    def lessons(self) -> tuple[str, ...]:
        """What visual tokens are taught, names out of `supervision.LESSONS`."""
        return tuple(name for name, weight in self.lesson_weights().items() if weight)

    @property
    def computes_in_bf16(self) -> bool:
        """Whether this machine is to: auto means a GPU or CPU with instructions for it, which is no faster without."""
        if self.bf16 != AUTO:
            return bool(self.bf16)
        if torch.cuda.is_available():
            return torch.cuda.is_bf16_supported(including_emulation=False)
        return any(torch.cpu.get_capabilities().get(name) for name in BF16_INSTRUCTIONS)

    @property
    def keeps_bf16(self) -> bool:
        """Whether weights that do not change, and the finished ones, are bfloat16."""
        return self.bf16 is True

    @property
    def teaches_names(self) -> bool:
        """Whether names in prompts are to be found."""
        return self.pointing_weight > 0 or self.gaze_weight > 0

    def loss_weights(self) -> dict[str, float]:
        """The factor on every loss, by name."""
        return {ROBOT: self.robot_weight, SPATIAL: self.spatial_weight, **self.lesson_weights()}

    def lesson_weights(self) -> dict[str, float]:
        """The factor on the loss of everything that visual tokens are taught."""
        return {lesson: getattr(self, weight) for lesson, weight in LESSON_WEIGHTS.items()}

    def split(self, num_processes: int) -> tuple[int, int]:
        """Rows (or packs) that a process computes at once, and how many times it does so in a step.

        Raises:
            ValueError: `batch_size` does not come out even.
        """
        micro = self.micro_batch or max(1, self.batch_size // num_processes)
        if self.batch_size % (micro * num_processes):
            raise ValueError(
                f"recipe.batch_size={self.batch_size} is no multiple of {num_processes} processes times {micro} rows: "
                "change recipe.batch_size or recipe.micro_batch"
            )
        return micro, self.batch_size // (micro * num_processes)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """From a yaml's values; raises ValueError for a key that is none of the settings."""
        check_names("recipe setting", values, choices=[entry.name for entry in fields(cls)])
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**(values | lists | {"augmentation": Augmentation(**values.get("augmentation", {}))}))
