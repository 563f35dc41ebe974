"""Checkpoint folders: written whole or not at all, and readable by plain transformers.

config.json, model.safetensors, processor files   the released checkpoints' format
head.safetensors                                  action head and camera embedding, when there is a head
action_tokenizer/                                 the words of a head that fits its own (`fast`)
vst_vla.json, norm_stats.json                     what the policy is, and the data's statistics
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

HEAD_FILE = "head.safetensors"
SPEC_FILE = "vst_vla.json"
STATS_FILE = "norm_stats.json"


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A fresh sibling folder to write into, renamed to `folder` on success and removed on failure.

    Raises:
        ValueError: `folder` exists and holds something other than a checkpoint.
        OSError: the disk refused; what was at `folder` before is untouched.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise ValueError(f"'{folder}' exists and is not a checkpoint, expected a new folder: choose another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir()
        yield fresh
        _swap(fresh, folder)
    except (OSError, SafetensorError) as error:
        raise OSError(f"cannot write checkpoint '{folder}' ({error}): free some disk space and run again") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def released_weights(model: Qwen2_5_VLForConditionalGeneration) -> dict[str, torch.Tensor]:
    """The weights under the released checkpoints' names, LoRA folded in and a tied output matrix left out."""
    weights = _merged(model)
    if model.config.tie_word_embeddings:
        del weights["lm_head.weight"]
    return {_released_name(name): value for name, value in weights.items()}


def _merged(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with every LoRA adapter folded into its layer and under its layer's own name."""
    weights = {name: value for name, value in model.state_dict().items() if ".lora_" not in name}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            key = f"{name}.base_layer.weight"
            deltas = [module.get_delta_weight(adapter) for adapter in module.active_adapters]
            weights[key] = weights[key] + torch.stack(deltas).sum(0).to(weights[key].dtype)
    return {name.replace(".base_layer.", "."): value for name, value in weights.items()}


def _released_name(name: str) -> str:
    for ours, theirs in (("model.visual.", "visual."), ("model.language_model.", "model.")):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _swap(fresh: Path, folder: Path) -> None:
    """Puts `fresh` in the place of `folder`; the old one is gone only once the new one stands."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
