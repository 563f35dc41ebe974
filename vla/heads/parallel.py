"""Parallel continuous actions: one pass of the backbone, one query token an action step, L1 loss.

After OpenVLA-OFT (Kim, Finn, Liang 2025): learned queries stand where an autoregressive policy would decode, and an
MLP maps each query's hidden state to its action. The proprioceptive state enters as one more token before them.

Letters in shapes: B batch, K slots, D hidden, S state, C chunk, A action.
"""

from __future__ import annotations

import torch
from torch import nn

from vst_vla.vla.heads.base import ActingPrompts, ActionHead, Prompts, Sizes, masked_mean, state_slot


class ParallelHead(ActionHead):
    """One state token (none without a state) and C query tokens; LayerNorm and MLP to normalised actions, unbounded."""

    name = "parallel"

    def __init__(self, *, sizes: Sizes, chunk: int = 8, init_std: float = 0.02) -> None:
        super().__init__(num_slots=chunk + (sizes.state > 0), chunk=chunk, action_dim=sizes.action)
        self.queries = nn.Parameter(torch.randn(chunk, sizes.hidden) * init_std)
        self.embed_state = state_slot(sizes)
        self.norm = nn.LayerNorm(sizes.hidden)
        self.decode = nn.Sequential(
            nn.Linear(sizes.hidden, sizes.hidden), nn.GELU(), nn.Linear(sizes.hidden, sizes.action)
        )

    def slots(self, state: torch.Tensor | None, *, batch_size: int) -> torch.Tensor:
        """The embedded state (B,S), then the C queries: (B,C+1,D), or (B,C,D) without a state."""
        queries = self.queries.expand(batch_size, -1, -1)
        return queries if self.embed_state is None else torch.cat([self.embed_state(state), queries], dim=1)

    def loss(self, prompts: Prompts, *, actions: torch.Tensor, action_is_pad: torch.Tensor) -> dict[str, torch.Tensor]:
        """Mean absolute error over the steps that are not padding."""
        loss = masked_mean((self.predict(prompts) - actions).abs(), action_is_pad=action_is_pad)
        return {"loss": loss, "action_l1": loss.detach()}

    def predict(self, prompts: ActingPrompts) -> torch.Tensor:
        """Normalised actions (B,C,A) from the queries' hidden states; the state token's is not read."""
        hidden = prompts.read(self.slots(prompts.state, batch_size=prompts.batch_size))
        output: torch.Tensor = self.decode(self.norm(hidden[:, -self.chunk :].to(self.queries.dtype)))
        return output
