"""What a run trains on: demonstrations and conversations made ready for a model, as the batches of all its steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vst_vla.vla.data.collate import Collator
from vst_vla.vla.data.conversations import Conversations
from vst_vla.vla.data.lengths import measure, usable
from vst_vla.vla.data.mixture import ROBOT, SPATIAL, Source, StepBatches, split_rows
from vst_vla.vla.data.order import Order
from vst_vla.vla.data.packs import Packs
from vst_vla.vla.data.picture_labels import LabelTable, scan_labels
from vst_vla.vla.data.questions import QuestionRows
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.transforms import build_transforms

Paths = str | Path | Sequence[str | Path]


def build_batches(
    recipe: Recipe,
    *,
    model: VLAModel,
    robot: RobotDataset | None,
    spatial: Sequence[Paths],
    weights: Sequence[float] | None,
    labels: LabelTable | None = None,
    seed: int,
    num_processes: int = 1,
) -> tuple[StepBatches, int]:
    """All batches of a run, over all its processes, and how many optimiser steps they make.

    Args:
        recipe: of the run.
        model: whose processor and action head the batches are for.
        robot: demonstrations; None trains on conversations alone.
        spatial: sets of conversations, each a parquet file or folder or a list of them; none for demonstrations alone.
        weights: how often each set is met, in relation to the others; None walks through all as one.
        labels: of what pictures of conversations show, to be taught beside them; None leaves it out.
        seed: of order and augmentation.
        num_processes: that share every step.

    Raises:
        ValueError: data that cannot be used, weights or a batch size that do not fit, or packing with demonstrations.
    """
    micro, accumulation = recipe.split(num_processes)
    num_robot, num_spatial = 0, micro
    if robot is not None:
        num_robot, num_spatial = split_rows(micro, spatial_ratio=recipe.spatial_ratio if spatial else 0.0)
    collator = Collator(
        model.processor,
        image_keys=model.spec.picture_keys if model.spec is not None else (),
        num_slots=int(model.head.num_slots) if model.head is not None else 0,
        max_tokens=recipe.max_tokens,
        reply_balance=recipe.reply_balance,
        labels=labels,
        classes=robot.classes if robot is not None and recipe.teaches_names else (),
    )
    sources, transforms = [], []
    if robot is not None:
        assert model.spec is not None
        if recipe.pack_tokens:
            raise ValueError("recipe.pack_tokens packs conversations only: leave data.robot out, or set it to 0")
        order = Order([len(robot)], seed=seed)
        sources.append(Source(name=ROBOT, rows=robot, order=order, per_step=num_robot))
        transforms = build_transforms(model.spec, stats=robot.norm_stats, augmentation=recipe.augmentation)
    if spatial:
        source = _conversations(recipe, spatial, weights=weights, collator=collator, seed=seed, number=len(sources))
        sources.append(replace(source, per_step=num_spatial))
    items = _items(sources[0], epochs=recipe.epochs) if recipe.steps is None and sources else 0
    steps = recipe.steps or math.ceil(items / (accumulation * num_processes))
    num_items = steps * accumulation * num_processes
    return StepBatches(sources, collator=collator, transforms=transforms, num_items=num_items, seed=seed), steps


def find_labels(sets: Sequence[Paths]) -> LabelTable:
    """What the pictures of conversations are labelled with. Raises ValueError as `scan_labels`."""
    paths = [path for part in sets for path in ([part] if isinstance(part, str | Path) else part)]
    return scan_labels(paths)


def _conversations(
    recipe: Recipe,
    sets: Sequence[Paths],
    *,
    weights: Sequence[float] | None,
    collator: Collator,
    seed: int,
    number: int,
) -> Source:
    """The conversations as source `number` of the run, padded or packed as the recipe says."""
    parts = [_open(recipe, paths, verify=not recipe.pack_tokens) for paths in sets]
    if not recipe.pack_tokens:
        rows = Conversations(parts)
        order = Order(rows.counts, weights=weights, seed=seed, source=number)
        return Source(name=SPATIAL, rows=rows, order=order)
    measured = [measure(part, collator=collator, num_workers=recipe.num_workers) for part in parts]
    longest = min(recipe.pack_tokens, recipe.max_tokens)
    kept = [
        usable(lengths, limit=longest, name=str(part.records.files[0].parent))
        for part, lengths in zip(parts, measured, strict=True)
    ]
    lengths = np.concatenate([counted[rows] for counted, rows in zip(measured, kept, strict=True)])
    rows = Conversations(parts, kept=kept)
    order = Order(rows.counts, weights=weights, seed=seed, source=number)
    packs = Packs(lengths, order=order, budget=recipe.pack_tokens, seed=seed)
    return Source(name=SPATIAL, rows=rows, order=order, packs=packs)


def _open(recipe: Recipe, paths: Paths, *, verify: bool) -> QuestionRows:
    fov = FovTarget(width=recipe.fov_width, hfov_deg=recipe.fov_deg)
    return QuestionRows(paths, fov=fov, max_pixels=recipe.max_pixels, max_tokens=recipe.max_tokens, verify=verify)


def _items(source: Source, *, epochs: float) -> int:
    """Items of `source.per_step` rows or packs that so many passes over a source take."""
    positions = math.ceil(source.order.epoch * epochs)
    count = positions if source.packs is None else source.packs.count(positions)
    return math.ceil(count / source.per_step)
