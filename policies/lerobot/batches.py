"""LeRobot's batches as our samples and model batches: pictures (B,3,H,W) floats -> (H,W,3) bytes, one row a sample.

Letters: B batch, H/W pixels, C chunk, A action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vst_vla.vla.contracts import ACTION_IS_PAD_KEY, ACTION_KEY, STATE_KEY, TASK_KEY, Array, Observation
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.model import VLAModel
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.transforms import Augmentation, apply, build_transforms


class TrainingBatches:
    """Batches with actions, through the transforms of training.

    Args:
        model: a policy with its statistics.
        augmentation: how strongly samples are varied.
    """

    def __init__(self, model: VLAModel, *, augmentation: Augmentation) -> None:
        assert model.spec is not None
        assert model.norm_stats is not None
        assert model.head is not None
        self._spec = model.spec
        self._transforms = build_transforms(model.spec, stats=model.norm_stats, augmentation=augmentation)
        slots = int(model.head.num_slots)
        self._collator = Collator(model.processor, image_keys=model.spec.image_keys, num_slots=slots)

    def make(self, batch: Mapping[str, Any], *, augment: bool) -> Batch:
        """A robot batch with actions (B,C,A). What is random follows from torch's generator, which LeRobot restores."""
        rng = np.random.default_rng(int(torch.randint(2**62, ()))) if augment else None
        samples = observations(batch, spec=self._spec)
        actions, is_pad = _numbers(batch[ACTION_KEY]), batch[ACTION_IS_PAD_KEY].cpu().numpy()
        for sample, chunk, pad in zip(samples, actions, is_pad, strict=True):
            sample |= {ACTION_KEY: chunk, ACTION_IS_PAD_KEY: pad}
        return self._collator.robot([apply(self._transforms, sample, rng=rng) for sample in samples])


def observations(batch: Mapping[str, Any], *, spec: ModelSpec) -> list[Observation]:
    """B observations out of a batch.

    Raises:
        ValueError: a key that the policy looks at is missing.
    """
    wanted = (*spec.image_keys, STATE_KEY, TASK_KEY)
    for key in wanted:
        if key not in batch:
            raise ValueError(f"batch has no '{key}', expected {', '.join(wanted)}: found {', '.join(map(str, batch))}")
    columns = {key: _pictures(batch[key]) for key in spec.image_keys}
    columns |= {STATE_KEY: _numbers(batch[STATE_KEY]), TASK_KEY: batch[TASK_KEY]}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _pictures(values: torch.Tensor) -> Array:
    """(B,3,H,W) floats in [0, 1] or bytes -> (B,H,W,3) bytes."""
    pictures = values.detach().cpu()
    if pictures.dtype != torch.uint8:
        pictures = (pictures * 255).round().clamp(0, 255).to(torch.uint8)
    return pictures.permute(0, 2, 3, 1).contiguous().numpy()


def _numbers(values: torch.Tensor) -> Array:
    return values.detach().float().cpu().numpy()
