"""Whether a model fits a GPU, asked before it is moved there: a user gets one line, not an allocator's report."""

from __future__ import annotations

import torch
from torch import nn

from vst_vla.vla.quantize import stored_bytes

GIB = 2**30
OVERHEAD = 1.15
"""Activations, CUDA's context and fragments beside the weights, for a few pictures at once (an estimate)."""


def require_room(model: nn.Module, *, device: torch.device) -> None:
    """Raises ValueError where the model's weights do not fit what is free on a GPU."""
    if device.type == "cuda":
        check_room(num_bytes=weight_bytes(model), half=half_bytes(model), free=_free(device), device=str(device))


def check_room(*, num_bytes: int, half: int, free: int, device: str) -> None:
    """Raises ValueError, saying what would fit.

    Args:
        num_bytes: of the weights as they are.
        half: of the weights with floating numbers in two bytes.
        free: on the device.
        device: its name.
    """
    need = num_bytes * OVERHEAD
    if need <= free:
        return
    fits = "use device=cpu or a larger GPU"
    if half < num_bytes and half * OVERHEAD <= free:
        fits = f"dtype=bfloat16 fits with {half * OVERHEAD / GIB:.1f} GiB: use it, device=cpu or a larger GPU"
    raise ValueError(f"the policy needs {need / GIB:.1f} GiB on '{device}', {free / GIB:.1f} GiB are free: {fits}")


def weight_bytes(model: nn.Module) -> int:
    """Of all parameters; tied ones count once."""
    return sum(stored_bytes(parameter) for parameter in model.parameters())


def half_bytes(model: nn.Module) -> int:
    """The same with floating numbers in at most two bytes."""
    return sum(min(2 * parameter.numel(), stored_bytes(parameter)) for parameter in model.parameters())


def _free(device: torch.device) -> int:
    return int(torch.cuda.mem_get_info(device)[0])
