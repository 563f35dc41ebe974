"""Weights in eight bits for acting: half the memory of bfloat16, a quarter of float32, through torchao.

Only the matrices of the vision tower's and the language model's blocks are quantised, each row with a scale of its own.
Arithmetic stays in the model's type, and every product first makes its weights whole again: it saves memory, not time.
torchao is an extra: `pip install 'vst-vla[quant]'`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers import Qwen2_5_VLForConditionalGeneration

from vst_vla.vla.contracts import unknown_name

INT8, FP8 = "int8", "fp8"
QUANTIZATIONS = (INT8, FP8)
FP8_CAPABILITY = (8, 9)
"""Of a GPU that computes in eight-bit floating point: Ada and Hopper are the first."""


def check_quantization(name: str, *, device: torch.device) -> None:
    """Raises ValueError for a quantisation that is unknown, that the device does not support, or without torchao."""
    if name not in QUANTIZATIONS:
        raise unknown_name("policy.quantize", name, QUANTIZATIONS)
    if name == FP8:
        _check_fp8(device)
    _config(name)


def quantize(vlm: Qwen2_5_VLForConditionalGeneration, name: str) -> None:
    """Quantises the linear layers of all blocks in place; `name` is one that was checked."""
    from torchao.quantization import quantize_

    for blocks in (vlm.model.visual.blocks, vlm.model.language_model.layers):
        quantize_(blocks, _config(name))


def block_bytes(vlm: Qwen2_5_VLForConditionalGeneration) -> int:
    """Bytes of what `quantize` works on: the matrices of all blocks' linear layers."""
    parts = [*vlm.model.visual.blocks.modules(), *vlm.model.language_model.layers.modules()]
    return sum(stored_bytes(part.weight) for part in parts if isinstance(part, nn.Linear))


def is_quantized(weight: torch.Tensor) -> bool:
    """Whether it is made of other tensors, as torchao's are: numbers of few bits and their scales."""
    return bool(is_traceable_wrapper_subclass(weight))


def stacked(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Quantised matrices (n,D) as one, row under row: `torch.cat`, which torchao's have not."""
    names, context = weights[0].__tensor_flatten__()  # type: ignore[attr-defined]
    parts = {name: torch.cat([getattr(weight, name) for weight in weights]) for name in names}
    rows = sum(len(weight) for weight in weights)
    made: torch.Tensor = type(weights[0]).__tensor_unflatten__(  # type: ignore[attr-defined]
        parts, context, (rows, weights[0].shape[1]), weights[0].stride()
    )
    return made


def stored_bytes(tensor: torch.Tensor) -> int:
    """What it takes in memory, all its parts together."""
    if not is_quantized(tensor):
        return int(tensor.nbytes)
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    return sum(int(getattr(tensor, name).nbytes) for name in names)


def _config(name: str) -> Any:
    """What torchao calls it; with version 2, whose tensors keep one scale a row, and without a word to the compiler."""
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig
    except ImportError as error:
        raise ValueError(f"policy.quantize={name} needs torchao ({error}): pip install 'vst-vla[quant]'") from error
    kind = {INT8: Int8WeightOnlyConfig, FP8: Float8WeightOnlyConfig}[name]
    return kind(version=2, set_inductor_config=False)


def _check_fp8(device: torch.device) -> None:
    needs = f"policy.quantize={FP8} needs a GPU of compute capability {'.'.join(map(str, FP8_CAPABILITY))} or more"
    if device.type != "cuda":
        raise ValueError(
            f"{needs}, the policy is on the {device.type}: use policy.quantize={INT8}, which any device has"
        )
    found = torch.cuda.get_device_capability(device)
    if found < FP8_CAPABILITY:
        card = f"'{torch.cuda.get_device_name(device)}' has {found[0]}.{found[1]}"
        raise ValueError(f"{needs}, {card} and supports {INT8}: use policy.quantize={INT8}")
