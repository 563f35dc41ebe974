"""What a language model has read, as keys and values of every layer, for a network that attends to them.

Letters in shapes: B batch, L tokens, C further positions, h key-value heads of width d, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel, rotate_half

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine, each (B,1,n,d)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """A batch of prompts as a transformer's layers keep them."""

    keys: tuple[torch.Tensor, ...]  # a layer: (B,h,L,d), rotated to their positions
    values: tuple[torch.Tensor, ...]  # a layer: (B,h,L,d)
    is_real: torch.Tensor  # (B,L) bool, false on padding
    rotation: Rotation  # of the C positions that follow each prompt


def read_memory(
    model: Qwen2_5_VLTextModel,
    embeds: torch.Tensor,
    *,
    positions: torch.Tensor,
    is_real: torch.Tensor,
    positions_after: torch.Tensor,
) -> Memory:
    """Has `model` read embeddings (B,L,D), right padded, and keeps what its layers attend to.

    The projections are taken as each layer makes them: transformers gives up its cache under gradient checkpointing,
    and sharded weights exist only while their layer runs.

    Args:
        model: the language model.
        embeds: (B,L,D).
        positions: M-RoPE positions (3,B,L).
        is_real: (B,L) bool, false on padding.
        positions_after: (3,B,C), to be rotated to by the caller.
    """
    with recorded([layer.self_attn.k_proj for layer in model.layers]) as keys:  # noqa: SIM117 - two lists
        with recorded([layer.self_attn.v_proj for layer in model.layers]) as values:
            model(inputs_embeds=embeds, position_ids=positions, use_cache=False)
    rotation = text_rotation(model, embeds, positions)
    return Memory(
        keys=tuple(rotate(_split(model, key), rotation) for key in keys),
        values=tuple(_split(model, value) for value in values),
        is_real=is_real,
        rotation=text_rotation(model, embeds, positions_after),
    )


def rotate(heads: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """Queries or keys (B,h,n,d) turned to their positions (RoPE)."""
    cos, sin = rotation
    turned: torch.Tensor = heads * cos + rotate_half(heads) * sin
    return turned


def text_rotation(model: Qwen2_5_VLTextModel, like: torch.Tensor, positions: torch.Tensor) -> Rotation:
    """Tables (B,1,n,d) for positions (3,B,n): time, height and width each turn their own share of the frequencies."""
    shares = list(model.config.rope_parameters["mrope_section"]) * 2
    tables = []
    for table in model.rotary_emb(like, positions):  # (3,B,n,d)
        parts = [part[axis % 3] for axis, part in enumerate(table.split(shares, dim=-1))]
        tables.append(torch.cat(parts, dim=-1)[:, None])
    return tables[0], tables[1]


@contextmanager
def recorded(modules: list[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """A list that fills with the modules' outputs, in the order in which they run."""
    outputs: list[torch.Tensor] = []
    handles = [module.register_forward_hook(lambda *call: outputs.append(call[-1])) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _split(model: Qwen2_5_VLTextModel, projected: torch.Tensor) -> torch.Tensor:
    """(B,L,h*d) -> (B,h,L,d)."""
    return projected.unflatten(-1, (model.config.num_key_value_heads, -1)).transpose(1, 2)
