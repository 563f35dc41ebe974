"""Prompts that the prepared layers read for an action head: `heads.base.ActingPrompts` without transformers' modules.

Of the last layer only what is asked for is computed: states at the slots, or keys and values.

Letters in shapes: B batch, L tokens, D hidden, K slots, Q places that are read, T written tokens, g key-value heads of
width d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from vst_vla.vla.fast.layers import (
    LayerWeights,
    additive,
    attend_masked,
    finish,
    project,
    run_layer,
    signed,
    text_weights,
    turn,
)
from vst_vla.vla.fast.rows import Rows
from vst_vla.vla.memory import Memory, Rotation

Kept = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values (B,L,g,d) of every layer."""


class Language:
    """The language model's weights, as the layers take them."""

    def __init__(self, vlm: Qwen2_5_VLForConditionalGeneration) -> None:
        self._norm = vlm.model.language_model.norm
        self._embedding, self._logits = vlm.get_input_embeddings(), vlm.lm_head
        self.layers: list[LayerWeights] = [text_weights(layer) for layer in vlm.model.language_model.layers]
        last = self.layers[-1]
        rows = last.heads[0] * last.heads[2]
        self._queries = last.qkv[:rows], last.qkv_bias[:rows]
        self._keys_values = last.qkv[rows:], last.qkv_bias[rows:]

    def norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """The norm behind the last layer."""
        return F.rms_norm(hidden, hidden.shape[-1:], self._norm.weight, self._norm.variance_epsilon)

    def last_queries(self, hidden: torch.Tensor, *, rotation: Rotation) -> torch.Tensor:
        """The last layer's, of states before it: (B,Q,D) -> (B,Q,h,d), turned to their positions."""
        seen, (_, _, width) = self._seen(hidden), self.layers[-1].heads
        return turn(F.linear(seen, *self._queries).unflatten(-1, (-1, width)), rotation)

    def last_keys_values(self, hidden: torch.Tensor, *, rotation: Rotation) -> tuple[torch.Tensor, torch.Tensor]:
        """The last layer's: (B,L,D) -> keys turned to their positions, and values, both (B,L,g,d)."""
        seen, (_, keys, width) = self._seen(hidden), self.layers[-1].heads
        both = F.linear(seen, *self._keys_values).unflatten(-1, (-1, width))
        return turn(both[..., :keys, :], rotation), both[..., keys:, :]

    def _seen(self, hidden: torch.Tensor) -> torch.Tensor:
        last = self.layers[-1]
        return F.rms_norm(hidden, hidden.shape[-1:], last.before, last.eps)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Words (...) -> (...,D)."""
        embedded: torch.Tensor = self._embedding(ids)
        return embedded

    def choose(self, states: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """The likeliest of the ids `allowed` (W,) after states (B,D): (B,)."""
        return allowed[F.linear(states, self._logits.weight[allowed]).float().argmax(-1)]


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedPrompts:
    """A batch whose pictures are in place."""

    language: Language
    rows: Rows
    embeds: torch.Tensor  # (B,L,D), slots still empty
    state: torch.Tensor | None  # (B,S)

    @property
    def batch_size(self) -> int:
        """B."""
        return len(self.embeds)

    def read(self, slots: torch.Tensor | None) -> torch.Tensor:
        """The last layer's states at the slots, (B,K,D)."""
        return self._states(slots, kept=[])

    def remember(self, slots: torch.Tensor | None, *, num_after: int) -> Memory:
        """Every layer's keys and values, and the rotation of `num_after` positions behind each prompt."""
        kept: Kept = []
        hidden = self._through_body(slots, kept=kept)
        kept.append(self.language.last_keys_values(hidden, rotation=self.rows.rotation))
        cos, sin = (table[:, :, :num_after] for table in self.rows.after)
        return Memory(
            keys=tuple(keys.transpose(1, 2) for keys, _ in kept),
            values=tuple(values.transpose(1, 2) for _, values in kept),
            is_real=self.rows.is_real,
            rotation=(cos, sin),
        )

    def write(
        self, slots: torch.Tensor | None, *, num_tokens: int, allowed: torch.Tensor, end: int | None = None
    ) -> torch.Tensor:
        """Ids (B,T) of the likeliest continuation among the ids `allowed`; see `heads.base.ActingPrompts.write`."""
        kept: Kept = []
        last = self._states(slots, kept=kept)[:, -1]
        room = [tuple(F.pad(part, (0, 0, 0, 0, 0, num_tokens)) for part in pair) for pair in kept]
        seen = F.pad(self.rows.is_real, (0, num_tokens), value=True)[:, None, None]
        mask = additive(seen, dtype=self.embeds.dtype)
        rotation = signed((self.rows.after[0].transpose(1, 2), self.rows.after[1].transpose(1, 2)))
        ids: list[torch.Tensor] = []
        while True:
            ids.append(self.language.choose(last, allowed))
            ended = end is not None and bool((torch.stack(ids) == end).any(0).all())
            if ended or len(ids) == num_tokens:
                return torch.stack(ids, dim=1)
            number = len(ids) - 1
            turned = (rotation[0][:, number : number + 1], rotation[1][:, number : number + 1])
            length = self.rows.is_real.shape[1] + len(ids)
            last = self._step(ids[-1], room, rotation=turned, mask=mask[..., :length])

    def _step(
        self,
        ids: torch.Tensor,
        room: list[tuple[torch.Tensor, ...]],
        *,
        rotation: Rotation,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """States (B,D) at written tokens (B,), which see what `mask` (B,1,1,n) says and are the last of it."""
        hidden, length = self.language.embed(ids)[:, None], mask.shape[-1]
        for weights, (all_keys, all_values) in zip(self.language.layers, room, strict=True):
            turned, values = project(hidden, weights, rotation=rotation)
            queries, keys = turned.split(weights.heads[:2], dim=-2)
            all_keys[:, length - 1 : length], all_values[:, length - 1 : length] = keys, values
            past = (part[:, :length] for part in (all_keys, all_values))
            hidden = finish(hidden, attend_masked(queries, *past, mask=mask), weights)
        return self.language.norm(hidden)[:, 0]

    def _states(self, slots: torch.Tensor | None, *, kept: Kept) -> torch.Tensor:
        """States (B,Q,D) at the places that are read."""
        hidden, language, rows = self._through_body(slots, kept=kept), self.language, self.rows
        keys, values = language.last_keys_values(hidden, rotation=rows.rotation)
        kept.append((keys, values))
        picked = hidden.flatten(0, 1)[rows.queries]
        queries = language.last_queries(picked, rotation=rows.query_rotation)
        mixed = attend_masked(queries, keys, values, mask=rows.query_mask)
        return language.norm(finish(picked, mixed, language.layers[-1]))

    def _through_body(self, slots: torch.Tensor | None, *, kept: Kept) -> torch.Tensor:
        """Hidden states (B,L,D) before the last layer."""

        def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            kept.append((keys, values))
            return _causal(queries, keys, values)

        hidden = self.embeds
        if slots is not None:
            filled = slots.to(hidden.dtype).flatten(0, 1)
            hidden = hidden.flatten(0, 1).index_copy(0, self.rows.slots, filled).view_as(hidden)
        for weights in self.language.layers[:-1]:
            hidden = run_layer(hidden, weights, rotation=self.rows.rotation, attend=attend)
        return hidden


def _causal(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    mixed = F.scaled_dot_product_attention(
        queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), is_causal=True, enable_gqa=True
    )
    return mixed.transpose(1, 2).flatten(2)
