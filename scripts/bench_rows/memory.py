"""Rows of memory, each in a fresh process: what acting, adapters and full training take beside the library itself."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from vst_vla.scripts.bench_rows.acting import Row
from vst_vla.scripts.bench_rows.shapes import Shape, make_policy, observations
from vst_vla.scripts.bench_rows.training import training_step
from vst_vla.scripts.memory import PeakMemory, tree_rss_gib
from vst_vla.vla.backbone import Backbone, add_lora
from vst_vla.vla.fast.path import FastPath
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel

ACTING, LORA, FULL = "acting", "LoRA", "full training"
TRAINED_BYTES = 16
"""Of a trained weight: itself, its gradient and AdamW's two moments, in float32."""
RANK = 16


def memory_row(shape: Shape, *, use: str) -> Row:
    """MiB at the highest, and the floor: weights, and for what is trained its gradient and moments."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        peak, floor = pool.submit(_measure, shape, use).result()
    made = {"unit": "MiB", "median": peak / 2**20, "min": peak / 2**20, "max": peak / 2**20, "runs": 1}
    return made | {"floor": floor / 2**20, "ratio": peak / floor, "shape": shape.name, "use": use}


def _measure(shape: Shape, use: str) -> tuple[float, float]:
    """Bytes at the highest above those before the network was made, and the floor."""
    before = tree_rss_gib()
    with PeakMemory(every_s=0.01) as watched:
        floor = _act(shape) if use == ACTING else _train(shape, adapters=use == LORA)
        if shape.device == "cuda":
            return float(torch.cuda.max_memory_allocated()), floor
        time.sleep(0.1)  # for the watch to see the end
    return (watched.peak_gib - before) * 2**30, floor


def _act(shape: Shape) -> float:
    policy = make_policy(shape, head={"name": "parallel"}, dtype=shape.acting_dtype)
    path = FastPath(policy, pipeline=InferencePipeline(policy))
    given = observations(shape, policy=policy, count=1)
    for _ in range(3):
        path.predict(given)
    return float(sum(parameter.nbytes for parameter in policy.parameters()))


def _train(shape: Shape, *, adapters: bool) -> float:
    model = make_policy(shape, head={"name": "parallel"}, dtype=torch.float32).train()
    if adapters:
        add_lora(Backbone(model=model.vlm, processor=model.processor, name=shape.name), rank=RANK)
        model.to(torch.device(shape.device))
    if shape.device == "cuda":
        model.gradient_checkpointing_enable()
        _halve_frozen(model)
    rows = 1 if shape.device == "cpu" else 8
    batch = InferencePipeline(model).inputs(observations(shape, policy=model, count=rows))
    batch |= {"actions": torch.zeros(rows, 8, 7), "action_is_pad": torch.zeros(rows, 8, dtype=torch.bool)}
    step = training_step(model, batch, device=shape.device)
    for _ in range(2):
        step()
    return float(sum(TRAINED_BYTES * p.numel() if p.requires_grad else p.nbytes for p in model.parameters()))


def _halve_frozen(model: VLAModel) -> None:
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
