"""Heads that look a few tokens back before anything is learnt: random weights that can soon repeat what they read.

To copy a name out of a question, one head has to find the token before each token (Olsson et al., "In-context learning
and induction heads", arXiv 2209.11895), and a transformer from random weights takes long to find that first half:
nothing rewards it while the second is missing. Weights that begin as trained ones look (Trockman and Kolter, "Mimetic
initialization of self-attention layers", arXiv 2305.09828) spare it the search.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import rotate_half

OFFSETS = (1, 2, 3)
"""Tokens back, of the heads of a group in turn."""
STRENGTH = 2.0
"""Of the biases: with 10 frequencies a logit of up to 14, of which that token gets half of the attention or more."""
FREQUENCIES = 10
"""Of the rotary ones, the fastest, which tell neighbours apart."""


@torch.no_grad()
def look_back(model: Qwen2_5_VLForConditionalGeneration, *, layers: int = 1) -> None:
    """Gives the heads of the first layers biases that make each attend to the token 1, 2 or 3 before.

    A rotary query that is the key turned back by n positions fits the key n tokens before best, whatever is said there.
    Only biases change, which are zero in random weights: all is still learnt.

    Args:
        model: random weights, of a `rope_theta` so small that `FREQUENCIES` of a head's tell near tokens apart.
        layers: of the language model, from the first.
    """
    text = model.model.language_model
    config = text.config
    width = config.hidden_size // config.num_attention_heads
    group = config.num_attention_heads // config.num_key_value_heads
    speeds = text.rotary_emb.inv_freq
    key = torch.zeros(width)
    key[:FREQUENCIES] = key[width // 2 : width // 2 + FREQUENCIES] = STRENGTH
    for layer in text.layers[:layers]:
        attention = layer.self_attn
        _fill(attention.k_proj, key.repeat(config.num_key_value_heads))
        back = [OFFSETS[head % group % len(OFFSETS)] for head in range(config.num_attention_heads)]
        _fill(attention.q_proj, torch.cat([_turned(key, speeds=speeds, by=-offset) for offset in back]))


def _turned(key: torch.Tensor, *, speeds: torch.Tensor, by: int) -> torch.Tensor:
    """(width,) as the rotary embedding turns it at position `by`."""
    angles = (speeds * by).repeat(2)
    return key * angles.cos() + rotate_half(key) * angles.sin()


def _fill(projection: nn.Linear, bias: torch.Tensor) -> None:
    projection.bias.copy_(bias)
