"""The action expert: a transformer beside the backbone, each layer of which attends to one of the backbone's.

After π0 (Black et al. 2024) and π0.5 (2025): layer i's queries see the keys and values that the backbone's layer i has
of the prompt, and those of the expert's own tokens; the time of the flow scales and shifts every norm (adaptive
RMSNorm). Several draws (time and noise) of one prompt share its memory and do not see each other.

Letters in shapes: B batch, R draws, n own tokens of a draw, W width, L prompt tokens, h key-value heads of width d.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from vst_vla.vla.heads.base import Sizes
from vst_vla.vla.memory import Memory, Rotation, rotate

MIN_PERIOD, MAX_PERIOD = 4e-3, 4.0
"""Of the sines that time in [0, 1] is shown as (openpi)."""


class Expert(nn.Module):
    """As many layers as the backbone has, `width` wide."""

    def __init__(self, *, sizes: Sizes, width: int) -> None:
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.layers = nn.ModuleList(ExpertLayer(sizes=sizes, width=width) for _ in range(sizes.num_layers))
        self.norm = nn.RMSNorm(width)

    def forward(self, tokens: torch.Tensor, *, time: torch.Tensor, memory: Memory) -> torch.Tensor:
        """Tokens (B,R,n,W) at times (B,R) in [0, 1] -> (B,R,n,W); `memory.rotation` is of n positions."""
        draws, count = tokens.shape[1:3]
        when = self.time(sines(time, width=self.width))[:, :, None]  # (B,R,1,W)
        rotation = tuple(table.repeat(1, 1, draws, 1) for table in memory.rotation)
        mask = _visible(memory, draws=draws, count=count)
        for layer, keys, values in zip(self.layers, memory.keys, memory.values, strict=True):
            tokens = layer(tokens, when=when, past=(keys, values), rotation=rotation, mask=mask)
        output: torch.Tensor = self.norm(tokens)
        return output


class ExpertLayer(nn.Module):
    """Attention to a backbone layer and to each other, then a gated MLP."""

    def __init__(self, *, sizes: Sizes, width: int) -> None:
        super().__init__()
        self.head_dim = sizes.head_dim
        own = sizes.num_kv_heads * sizes.head_dim
        inner = own * max(1, width // own)
        self.before, self.between = AdaptiveNorm(width=width), AdaptiveNorm(width=width)
        self.query, self.out = nn.Linear(width, inner), nn.Linear(inner, width, bias=False)
        self.key, self.value = nn.Linear(width, own), nn.Linear(width, own)
        self.gate, self.up = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(
        self,
        tokens: torch.Tensor,
        *,
        when: torch.Tensor,
        past: tuple[torch.Tensor, torch.Tensor],
        rotation: Rotation,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """(B,R,n,W) -> (B,R,n,W)."""
        seen, gain = self.before(tokens, when)
        tokens = tokens + gain * self._attend(seen, past=past, rotation=rotation, mask=mask)
        seen, gain = self.between(tokens, when)
        output: torch.Tensor = tokens + gain * self.down(F.silu(self.gate(seen)) * self.up(seen))
        return output

    def _attend(
        self, seen: torch.Tensor, *, past: tuple[torch.Tensor, torch.Tensor], rotation: Rotation, mask: torch.Tensor
    ) -> torch.Tensor:
        query, key, value = (self._heads(part(seen)) for part in (self.query, self.key, self.value))
        key = torch.cat([past[0].to(key.dtype), rotate(key, rotation)], dim=2)
        value = torch.cat([past[1].to(value.dtype), value], dim=2)
        mixed = F.scaled_dot_product_attention(
            rotate(query, rotation), key, value, attn_mask=mask, enable_gqa=query.shape[1] != key.shape[1]
        )
        output: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2)).view_as(seen)
        return output

    def _heads(self, projected: torch.Tensor) -> torch.Tensor:
        """(B,R,n,heads*d) -> (B,heads,R*n,d)."""
        return projected.flatten(1, 2).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class AdaptiveNorm(nn.Module):
    """RMSNorm whose scale and shift follow from the time, and so does the gain of what comes after it.

    They start at a plain norm's: scale 1, shift 0, gain 1.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.modulate = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, tokens: torch.Tensor, when: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normed tokens (B,R,n,W) and the gain (B,R,1,W)."""
        scale, shift, gain = self.modulate(when).chunk(3, dim=-1)
        return F.rms_norm(tokens, tokens.shape[-1:]) * (1 + scale) + shift, 1 + gain


def sines(time: torch.Tensor, *, width: int) -> torch.Tensor:
    """Times (B,R) as sines and cosines (B,R,W) of periods between `MIN_PERIOD` and `MAX_PERIOD`."""
    shares = torch.linspace(0, 1, width // 2, device=time.device)
    periods = MIN_PERIOD * (MAX_PERIOD / MIN_PERIOD) ** shares
    angles = 2 * math.pi * time[..., None] / periods
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _visible(memory: Memory, *, draws: int, count: int) -> torch.Tensor:
    """Who sees what, (B,1,R*n,L+R*n) bool: all of the prompt that is no padding, and one's own draw."""
    prompt = memory.is_real[:, None, None].expand(-1, 1, draws * count, -1)
    draw = torch.arange(draws, device=prompt.device).repeat_interleave(count)
    own = (draw[:, None] == draw).expand(len(prompt), 1, -1, -1)
    return torch.cat([prompt, own], dim=-1)
