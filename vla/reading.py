"""A batch of prompts that the backbone reads for an action head; the one implementation of `heads.base.Prompts`.

Rows are right padded: under a causal mask no real token ever attends to padding, so a whole batch needs no mask. Only
writing token by token, behind padding, does.

Letters in shapes: B batch, L tokens, D hidden, K slots, T written tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from vst_vla.vla.memory import Memory, read_memory
from vst_vla.vla.packing import packed_arguments


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The autocast that was on when a batch arrived: heads switch it off for themselves, the backbone runs under it."""

    device: str
    dtype: torch.dtype
    enabled: bool

    @classmethod
    def current(cls, device: str) -> Precision:
        """That of this moment."""
        enabled = torch.is_autocast_enabled(device)
        return cls(device=device, dtype=torch.get_autocast_dtype(device), enabled=enabled)

    def __call__(self) -> torch.autocast:
        """A context with it."""
        return torch.autocast(self.device, dtype=self.dtype, enabled=self.enabled)


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptReader:
    """Embedded prompts and the model that reads them."""

    vlm: Qwen2_5_VLForConditionalGeneration
    embeds: torch.Tensor  # (B,L,D), visual tokens in place, slots still empty
    positions: torch.Tensor  # (3,B,L)
    attention_mask: torch.Tensor | None  # (B,L), 0 on padding, 1 on slots; None for packed conversations
    sample_lengths: torch.Tensor | None  # (n,) tokens of each packed conversation, whose B is 1
    slot_mask: torch.Tensor  # (B,L) bool
    state: torch.Tensor | None  # (B,S)
    precision: Precision

    @property
    def batch_size(self) -> int:
        """B."""
        return len(self.embeds)

    def read_all(self) -> torch.Tensor:
        """Hidden states (B,L,D) after the last layer's norm; those on padding are meaningless."""
        if self.sample_lengths is None:
            return self._run(self.embeds, self.positions)
        layout = packed_arguments(self.positions, sample_lengths=self.sample_lengths)
        return self._run(self.embeds, layout.pop("position_ids"), **layout)

    def read(self, slots: torch.Tensor | None) -> torch.Tensor:
        """The last layer's states at the slots, (B,K,D)."""
        assert slots is not None
        hidden = self._run(self._filled(slots), self.positions)
        return hidden[self.slot_mask].unflatten(0, (self.batch_size, -1))

    def remember(self, slots: torch.Tensor | None, *, num_after: int) -> Memory:
        """Every layer's keys and values, and the rotation of `num_after` positions behind each prompt."""
        with self.precision():
            return read_memory(
                self.vlm.model.language_model,
                self._filled(slots),
                positions=self.positions,
                is_real=self._real.bool(),
                positions_after=self._positions_after(num_after),
            )

    def score(self, slots: torch.Tensor | None, *, ids: torch.Tensor) -> torch.Tensor:
        """Logits (B,T,V) float32 of each of the tokens `ids` (B,T) behind the prompts, given those before it."""
        prompt, count = self._filled(slots), ids.shape[1]
        places = self._lengths[:, None] + torch.arange(count, device=ids.device)  # (B,T) in the longer rows
        room = prompt.new_zeros(self.batch_size, count, prompt.shape[-1])
        wide = places[..., None].expand(-1, -1, prompt.shape[-1])
        written = self.vlm.get_input_embeddings()(ids).to(prompt.dtype)
        embeds = torch.cat([prompt, room], dim=1).scatter(1, wide, written)
        gap = self.positions.new_zeros(3, self.batch_size, count)
        after = self._positions_after(count)
        positions = torch.cat([self.positions, gap], dim=2).scatter(2, places.expand(3, -1, -1), after)
        return self._logits(self._run(embeds, positions).gather(1, wide - 1))

    @torch.no_grad()
    def write(
        self, slots: torch.Tensor | None, *, num_tokens: int, allowed: torch.Tensor, end: int | None = None
    ) -> torch.Tensor:
        """Ids (B,T) of the greedy continuation among the ids `allowed`; see `heads.base.Prompts.write`."""
        cache = DynamicCache(config=self.vlm.config.text_config)
        hidden = self._run(self._filled(slots), self.positions, cache=cache)
        last = hidden[self._rows, self._lengths - 1]
        after, mask = self._positions_after(num_tokens), self._real
        ids: list[torch.Tensor] = []
        while True:
            ids.append(allowed[self._logits(last)[:, allowed].argmax(-1)])
            ended = end is not None and bool((torch.stack(ids) == end).any(0).all())
            if ended or len(ids) == num_tokens:
                return torch.stack(ids, dim=1)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            embeds = self.vlm.get_input_embeddings()(ids[-1])[:, None]
            last = self._run(embeds, after[:, :, len(ids) - 1 :][:, :, :1], cache=cache, mask=mask)[:, 0]

    @property
    def _lengths(self) -> torch.Tensor:
        """Tokens of each row, slots included, (B,)."""
        return self._real.sum(1)

    @property
    def _real(self) -> torch.Tensor:
        assert self.attention_mask is not None, "heads read padded rows"
        return self.attention_mask

    @property
    def _rows(self) -> torch.Tensor:
        return torch.arange(self.batch_size, device=self.embeds.device)

    def _positions_after(self, count: int) -> torch.Tensor:
        """M-RoPE positions (3,B,count) that follow each row's last token, which is text or a slot."""
        last = self.positions[:, self._rows, self._lengths - 1]
        return last[..., None] + 1 + torch.arange(count, device=last.device)

    def _filled(self, slots: torch.Tensor | None) -> torch.Tensor:
        if slots is None:
            return self.embeds
        return self.embeds.masked_scatter(self.slot_mask[..., None], slots.to(self.embeds.dtype))

    def _run(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        *,
        cache: DynamicCache | None = None,
        mask: torch.Tensor | None = None,
        **layout: Any,
    ) -> torch.Tensor:
        with self.precision():
            output = self.vlm.model.language_model(
                inputs_embeds=embeds,
                position_ids=positions,
                attention_mask=mask,
                past_key_values=cache,
                use_cache=cache is not None,
                **layout,
            )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        with self.precision():
            logits: torch.Tensor = self.vlm.lm_head(hidden)
        return logits.float()
