"""One transformer layer of Qwen2.5-VL as a function, for the vision tower and the language model alike.

Both are made of RMSNorm, attention with rotary positions, RMSNorm and a gated MLP. transformers spends a dozen modules
and some fifty kernels on it; here queries, keys and values are one product, gate and up are one, queries and keys are
turned together, and what the positions need is given as tables.

Letters in shapes: ... rows of n tokens, D hidden, h query heads and g key-value heads of width d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLDecoderLayer, Qwen2_5_VLVisionBlock

from vst_vla.vla.memory import Rotation
from vst_vla.vla.quantize import is_quantized, stacked

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Queries (...,n,h,d), keys and values (...,n,g,d) -> (...,n,h*d)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerWeights:
    """A layer's weights; products that share their input are stored as one."""

    before: torch.Tensor  # (D,) scale of the first norm
    between: torch.Tensor  # (D,) of the second
    qkv: torch.Tensor  # ((h+2g)*d, D)
    qkv_bias: torch.Tensor
    out: torch.Tensor  # (D, h*d)
    out_bias: torch.Tensor | None
    gate_up: torch.Tensor  # (2*M, D)
    gate_up_bias: torch.Tensor | None
    down: torch.Tensor  # (D, M)
    down_bias: torch.Tensor | None
    heads: tuple[int, int, int]  # h, g, d
    eps: float


def vision_weights(block: Qwen2_5_VLVisionBlock) -> LayerWeights:
    """Those of a block of the vision tower; see `fused` for what becomes of the block."""
    attention, mlp = block.attn, block.mlp
    qkv, qkv_bias = fused([attention.qkv])
    gate_up, gate_up_bias = fused([mlp.gate_proj, mlp.up_proj])
    assert qkv_bias is not None
    return LayerWeights(
        before=block.norm1.weight,
        between=block.norm2.weight,
        qkv=qkv,
        qkv_bias=qkv_bias,
        out=fused([attention.proj])[0],
        out_bias=attention.proj.bias,
        gate_up=gate_up,
        gate_up_bias=gate_up_bias,
        down=fused([mlp.down_proj])[0],
        down_bias=mlp.down_proj.bias,
        heads=(attention.num_heads, attention.num_heads, attention.head_dim),
        eps=block.norm1.variance_epsilon,
    )


def text_weights(layer: Qwen2_5_VLDecoderLayer) -> LayerWeights:
    """Those of a layer of the language model; see `fused` for what becomes of the layer."""
    attention, mlp = layer.self_attn, layer.mlp
    qkv, qkv_bias = fused([attention.q_proj, attention.k_proj, attention.v_proj])
    gate_up, _ = fused([mlp.gate_proj, mlp.up_proj])
    assert qkv_bias is not None
    return LayerWeights(
        before=layer.input_layernorm.weight,
        between=layer.post_attention_layernorm.weight,
        qkv=qkv,
        qkv_bias=qkv_bias,
        out=fused([attention.o_proj])[0],
        out_bias=None,
        gate_up=gate_up,
        gate_up_bias=None,
        down=fused([mlp.down_proj])[0],
        down_bias=None,
        heads=(attention.num_heads, attention.num_key_value_heads, attention.head_dim),
        eps=layer.input_layernorm.variance_epsilon,
    )


@torch.no_grad()
def fused(linears: Sequence[nn.Linear]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of the layers' outputs side by side. Their own become views of it: nothing is held twice.

    On a CPU the weight lies in memory input by input, for products of few rows that are 10 to 40 % faster (measured).
    A quantised one stays row by row.
    """
    weights = [linear.weight for linear in linears]
    if is_quantized(weights[0]):
        weight = stacked(weights)
    else:
        weight = torch.cat(weights)
        weight = weight.t().contiguous().t() if weight.device.type == "cpu" else weight
    start = 0
    for linear in linears:
        end = start + len(linear.weight)
        linear.weight, start = nn.Parameter(weight[start:end], requires_grad=linear.weight.requires_grad), end
    if linears[0].bias is None:
        return weight, None
    return weight, torch.cat([linear.bias for linear in linears])


def run_layer(hidden: torch.Tensor, weights: LayerWeights, *, rotation: Rotation, attend: Attend) -> torch.Tensor:
    """Hidden states (...,n,D) -> (...,n,D)."""
    turned, values = project(hidden, weights, rotation=rotation)
    queries, keys = turned.split(weights.heads[:2], dim=-2)
    return finish(hidden, attend(queries, keys, values), weights)


def project(hidden: torch.Tensor, weights: LayerWeights, *, rotation: Rotation) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys, turned to their positions, (...,n,h+g,d), and values (...,n,g,d)."""
    queries, keys, width = weights.heads
    seen = F.rms_norm(hidden, hidden.shape[-1:], weights.before, weights.eps)
    both = F.linear(seen, weights.qkv, weights.qkv_bias).unflatten(-1, (-1, width))
    return turn(both[..., : queries + keys, :], rotation), both[..., queries + keys :, :]


def finish(hidden: torch.Tensor, mixed: torch.Tensor, weights: LayerWeights) -> torch.Tensor:
    """What follows attention: its output (...,n,h*d) is added to (...,n,D), and the gated MLP's."""
    hidden = hidden + F.linear(mixed, weights.out, weights.out_bias)
    seen = F.rms_norm(hidden, hidden.shape[-1:], weights.between, weights.eps)
    gate, up = F.linear(seen, weights.gate_up, weights.gate_up_bias).chunk(2, dim=-1)
    return hidden + F.linear(F.silu(gate) * up, weights.down, weights.down_bias)


def turn(heads: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """RoPE of (...,d), in the type of the tables and back; `signed` makes them."""
    cos, sin = rotation
    first, second = heads.chunk(2, dim=-1)
    turned = torch.addcmul(heads * cos, torch.cat([second, first], dim=-1), sin)
    return turned.to(heads.dtype)


def signed(rotation: Rotation) -> Rotation:
    """Tables for `turn` out of cosine and sine (...,d): it swaps halves, and the sign is the sine's."""
    cos, sin = rotation
    first, second = sin.chunk(2, dim=-1)
    return cos.contiguous(), torch.cat([-first, second], dim=-1)


def attend_masked(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, *, mask: torch.Tensor
) -> torch.Tensor:
    """Attention where all query heads see the same: (B,n,h,d) to (B,m,g,d) under an additive mask (B,1,n or 1,m).

    Heads that share keys stand side by side as further queries: PyTorch's fused kernels take a mask, or fewer key heads
    than query heads, but not both. Returns (B,n,h*d).
    """
    count, groups = queries.shape[1], keys.shape[2]
    shared = queries.shape[2] // groups
    stacked = queries.unflatten(2, (groups, shared)).permute(0, 2, 3, 1, 4).flatten(2, 3)  # (B,g,shared*n,d)
    if mask.shape[2] > 1:
        mask = mask.repeat(1, 1, shared, 1)
    mixed = F.scaled_dot_product_attention(stacked, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask)
    return mixed.unflatten(2, (shared, count)).permute(0, 3, 1, 2, 4).flatten(2)


def additive(seen: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
    """0 where a bool mask is true, minus infinity where not: what kernels add to the scores, made once."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, float("-inf"))
