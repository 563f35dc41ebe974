"""Attention as training computes it: PyTorch's own, in the precision in which it is fast.

Letters in shapes: h heads of width d, L tokens.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Scaled dot product attention (...,h,L,d); under autocast on a CPU in float32.

    PyTorch's CPU kernel takes five times as long for its backward pass in bfloat16 as in float32.
    """
    options: dict[str, Any] = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    if query.is_cpu and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(query.float(), key.float(), value.float(), **options)
    return F.scaled_dot_product_attention(query, key, value, **options)
