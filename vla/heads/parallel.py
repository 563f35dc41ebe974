"""Parallel continuous actions: one pass of the backbone, one query token an action step, L1 loss.

After OpenVLA-OFT (Kim, Finn, Liang 2025): learned queries stand where an autoregressive policy would decode, and an
MLP maps each query's hidden state to its action. The proprioceptive state enters as one more token before them.

Letters in shapes: B batch, K slots, D hidden, S state, C chunk, A action.
"""

from __future__ import annotations

import torch
from torch import nn

from vst_vla.vla.heads.base import ActionHead


class ParallelHead(ActionHead):
    """One state token (none without a state) and C query tokens; LayerNorm and MLP to normalised actions, unbounded."""

    name = "parallel"

    def __init__(
        self, *, hidden_dim: int, action_dim: int, state_dim: int = 0, chunk: int = 8, init_std: float = 0.02
    ) -> None:
        super().__init__(num_slots=chunk + (state_dim > 0), chunk=chunk, action_dim=action_dim)
        if chunk < 1:
            raise ValueError(f"chunk is {chunk}, expected at least 1 action step")
        self.queries = nn.Parameter(torch.randn(chunk, hidden_dim) * init_std)
        self.embed_state = _mlp(state_dim, hidden_dim, hidden_dim) if state_dim else None
        self.norm = nn.LayerNorm(hidden_dim)
        self.decode = _mlp(hidden_dim, hidden_dim, action_dim)

    def slots(self, state: torch.Tensor | None, *, batch_size: int) -> torch.Tensor:
        """The embedded state, then the C queries: (B,C+1,D), or (B,C,D) without a state."""
        queries = self.queries.expand(batch_size, -1, -1)
        if self.embed_state is None:
            return queries
        if state is None:
            raise ValueError("the policy was made with a state, but the batch has none: add 'state' to the batch")
        return torch.cat([self.embed_state(state.to(self.queries.dtype))[:, None], queries], dim=1)

    def loss(
        self, hidden: torch.Tensor, *, actions: torch.Tensor, action_is_pad: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Mean absolute error over the steps that are not padding."""
        real = (~action_is_pad)[..., None].to(actions.dtype)
        error = (self.predict(hidden) - actions).abs() * real
        loss = error.sum() / (real.sum() * self.action_dim).clamp(min=1.0)
        return {"loss": loss, "action_l1": loss.detach()}

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalised actions (B,C,A) from the queries' hidden states; the state token's is not read."""
        output: torch.Tensor = self.decode(self.norm(hidden[:, -self.chunk :].to(self.queries.dtype)))
        return output


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
