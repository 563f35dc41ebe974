"""Rows of training: a policy's step on robot rows, and stage 1's step on packed conversations, optimiser included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vst_vla.scripts.bench_rows.acting import Row, acting_work
from vst_vla.scripts.bench_rows.floors import language_work, patches_of, tower_work, vocabulary_work
from vst_vla.scripts.bench_rows.machine import Machine
from vst_vla.scripts.bench_rows.shapes import Shape, make_backbone, make_policy, observations
from vst_vla.scripts.bench_rows.timing import in_turns, milliseconds
from vst_vla.vla.backbone import use_attention
from vst_vla.vla.blocks import SELECTIVE, compile_blocks
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel
from vst_vla.vla.packing import PACKED_ATTENTION
from vst_vla.vla.prompt import IGNORED
from vst_vla.vla.train.optimizer import ADAMW, make_optimizer, parameter_groups

COMPILED = "compiled"
BLOCKS = (SELECTIVE, COMPILED)
PASSES = 3
"""Forward passes' worth of operations in a step: the backward pass has two products for each."""
_ANSWER = "The milk is nearer than the basket, because its depth is smaller. "


def policy_step(shape: Shape, *, machine: Machine, repeats: int, blocks: str | None = None) -> Row:
    """`shape.batch` robot rows of one length: nothing is padded; `blocks` is one of `BLOCKS`."""
    model = make_policy(shape, head={"name": "parallel"}, dtype=torch.float32).train()
    given = observations(shape, policy=model, count=shape.batch)
    batch = InferencePipeline(model).inputs(given)
    rows, chunk = len(given), model.head.chunk  # type: ignore[union-attr]
    batch |= {"actions": torch.zeros(rows, chunk, 7), "action_is_pad": torch.zeros(rows, chunk, dtype=torch.bool)}
    work = acting_work(model, shape=shape, batch=shape.batch)
    prepare_blocks(model, blocks, device=shape.device)
    return _measured(model, batch, flops=work.flops, shape=shape, machine=machine, repeats=repeats)


def packed_step(shape: Shape, *, machine: Machine, repeats: int) -> Row:
    """One row of about `shape.pack` tokens, conversations with a picture each."""
    backbone = make_backbone(shape, dtype=torch.float32)
    use_attention(backbone.model, PACKED_ATTENTION)
    model = VLAModel(backbone).train()
    batch = _pack(Collator(backbone.processor, max_tokens=shape.pack), shape=shape)
    lengths = batch["sample_lengths"].tolist()
    targets = int((batch["labels"][:, 1:] != IGNORED).sum())
    patches = patches_of(model.config, side=shape.image_size)
    work = tower_work(model, patches=patches, pictures=len(lengths)) + vocabulary_work(model, tokens=targets)
    prepare_blocks(model, None, device=shape.device)
    flops = work.flops + sum(language_work(model, length=length).flops for length in lengths)
    row = _measured(model, batch, flops=flops, shape=shape, machine=machine, repeats=repeats)
    return row | {"tokens": sum(lengths), "conversations": len(lengths)}


def prepare_blocks(model: VLAModel, how: str | None, *, device: str) -> None:
    """What a run does to its blocks; where it is not said, a GPU's activations are all computed again."""
    if how == COMPILED:
        compile_blocks(model.vlm)
    elif how == SELECTIVE or device == "cuda":
        model.gradient_checkpointing_enable({SELECTIVE: how == SELECTIVE})


def training_step(model: VLAModel, batch: Batch, *, device: str) -> Callable[[], object]:
    """One optimiser step as a run takes it: fused AdamW, and bfloat16 arithmetic on a GPU."""
    moved = {key: value.to(device) for key, value in batch.items()}
    groups = parameter_groups(model, learning_rate=1e-5, vision_lr_ratio=0.1, weight_decay=0.01)
    optimizer = make_optimizer(groups, name=ADAMW, betas=(0.9, 0.999), eps=1e-8)

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            loss = model(**moved)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _measured(model: VLAModel, batch: Batch, *, flops: float, shape: Shape, machine: Machine, repeats: int) -> Row:
    """A step's time, the time that its operations would take at the machine's rate, and the share (MFU)."""
    step = training_step(model, batch, device=shape.device)
    seconds = in_turns({"step": step}, repeats=max(3, repeats // 10))["step"]
    row: dict[str, Any] = milliseconds(seconds)
    floor = PASSES * flops / machine.flops_s * 1e3
    share = floor / row["median"]
    return row | {"floor": floor, "ratio": 1 / share, "flops_utilisation": share, "shape": shape.name}


def _pack(collator: Collator, *, shape: Shape) -> Batch:
    rng = np.random.default_rng(0)
    records: list[dict[str, Any]] = []
    while True:
        side = shape.image_size
        record = {
            "id": str(len(records)),
            "type": "si_qa",
            "conversations": [
                {"from": "human", "value": "<image>Which object is closer to the camera?"},
                {"from": "gpt", "value": _ANSWER * (1 + len(records) % 3)},
            ],
            "images": [rng.integers(0, 256, (side, side, 3), dtype=np.uint8)],
        }
        if records and collator.pack([*records, record])["input_ids"].shape[1] > shape.pack:
            return collator.pack(records)
        records.append(record)
