"""Several conversations in one row: positions and attention that keep them apart, without padding.

A packed row is one sequence of T tokens made of N samples, one after another; `sample_lengths` says where each ends.
M-RoPE positions start anew in every sample and no token attends to another sample's, so the row computes what N rows of
their own would. How the language model is told is transformers' own way (position ids with a text row, and the
arguments of its flash attention), so any of its attention implementations will do: `eager` and `sdpa` make a T x T mask
of the positions, flash attention takes the boundaries. `PACKED_ATTENTION` needs neither a mask nor a wheel: it is
PyTorch's own variable-length kernel in half precision on a GPU, elsewhere one causal call a sample.
Letters in shapes: T tokens, N samples, h heads of width d.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

from vst_vla.vla.attention import attend

PACKED_ATTENTION = "packed_sdpa"


def register_packed_attention() -> None:
    """Makes `PACKED_ATTENTION` known to transformers; idempotent."""
    AttentionInterface.register(PACKED_ATTENTION, packed_attention)


def packed_arguments(positions: torch.Tensor, *, sample_lengths: torch.Tensor) -> dict[str, Any]:
    """What the language model takes for a packed row, beside its embeddings.

    Args:
        positions: (3,1,T) M-RoPE positions as if the row were one sample.
        sample_lengths: (N,) tokens of each sample; they add up to T.

    Returns:
        `position_ids` (4,1,T), the text's first, each starting anew in every sample; and the samples' boundaries.
    """
    ends = sample_lengths.cumsum(0)
    starts = (ends - sample_lengths).repeat_interleave(sample_lengths, output_size=positions.shape[-1])
    text = torch.arange(positions.shape[-1], device=positions.device) - starts
    bounds = F.pad(ends, (1, 0)).to(torch.int32)
    longest = int(sample_lengths.max())
    return {
        "position_ids": torch.cat([text[None, None], positions - positions[..., starts]]),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sample of one row, (1,h,T,d) -> (1,T,h,d).

    Rows that are not packed, of which there may be several, are one sample each.

    Args:
        module: the attention layer.
        query: (1,h,T,d).
        key: the same, or with fewer heads (grouped queries).
        value: as `key`.
        attention_mask: none; right padding under a causal mask needs none.
        scaling: of the scores.
        cu_seq_lens_q: (N+1,) the samples' boundaries.
        max_length_q: the longest sample.
        kwargs: of other implementations.
    """
    assert attention_mask is None, "packed rows have boundaries instead of a mask"
    if cu_seq_lens_q is None:
        return _causal(query, key, value, scaling=scaling).transpose(1, 2), None
    dtype = _kernel_dtype(value)
    if dtype in (torch.bfloat16, torch.float16) and query.is_cuda:
        assert max_length_q is not None
        repeat = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(repeat, dim=1) for part in (key, value))
        heads = [part[0].transpose(0, 1).to(dtype) for part in (query, key, value)]
        bounds = (cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q)
        return varlen_attn(*heads, *bounds, scale=scaling, window_size=(-1, 0))[None], None
    lengths = cu_seq_lens_q.diff().tolist()
    samples = zip(*(part.split(lengths, dim=2) for part in (query, key, value)), strict=True)
    return torch.cat([_causal(*sample, scaling=scaling) for sample in samples], dim=2).transpose(1, 2), None


def _kernel_dtype(value: torch.Tensor) -> torch.dtype:
    """What autocast would compute in: rotary positions leave queries and keys in float32."""
    device = value.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scaling: float | None) -> torch.Tensor:
    return attend(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
