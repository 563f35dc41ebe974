"""Eight real robot samples on the tiny backbone, and how a head learns them by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import IMAGE_KEYS
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.model import VLAModel
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.transforms import action_normalizer, apply, build_transforms

SIZE = 28  # px; one visual token a camera


def make_model(folder: Path, head: dict[str, Any], **spec: Any) -> VLAModel:
    """A policy with fresh weights for the data in `folder`."""
    torch.manual_seed(0)
    data = RobotDataset(folder, chunk=head["chunk"])
    model = VLAModel(
        load_backbone("tiny"), spec=ModelSpec(head=head, image_size=SIZE, **spec), norm_stats=data.norm_stats
    )
    assert model.spec is not None
    normalizer = action_normalizer(model.spec, stats=data.norm_stats)
    model.head.fit(normalizer.normalize(data.action_chunks()))  # type: ignore[union-attr]
    return model


def make_batch(folder: Path, model: VLAModel, *, count: int = 8, stride: int = 2) -> Batch:
    """Samples of the data from its first on, `stride` frames apart, as training makes them, without augmentation."""
    assert model.spec is not None
    assert model.norm_stats is not None
    assert model.head is not None
    data = RobotDataset(folder, chunk=model.spec.chunk)
    transforms = build_transforms(model.spec, stats=model.norm_stats)
    collator = Collator(model.processor, image_keys=IMAGE_KEYS, num_slots=model.head.num_slots)
    return collator.robot([apply(transforms, data[stride * index]) for index in range(count)])


def overfit(model: VLAModel, batch: Batch, *, steps: int, lr: float) -> list[float]:
    """The loss of every step; the vision tower stays as it is, to save half of the time."""
    model.vlm.model.visual.requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(**batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def worst_error(model: VLAModel, batch: Batch, *, clip: float | None = None) -> float:
    """Largest difference between predicted and given (clipped) actions, over the steps that are not padding."""
    given = batch["actions"] if clip is None else batch["actions"].clamp(-clip, clip)
    error = (model.eval().predict(batch) - given).abs()
    return float(error[~batch["action_is_pad"]].max())


def gradient_norms(model: VLAModel, batch: Batch) -> dict[str, float]:
    """Of each of the backbone's parameters, from one loss with the same draws."""
    model.zero_grad()
    torch.manual_seed(1)
    model(**batch)["loss"].backward()
    pairs = ((name, p.grad) for name, p in model.vlm.named_parameters())
    return {name: 0.0 if grad is None else float(grad.norm()) for name, grad in pairs}
