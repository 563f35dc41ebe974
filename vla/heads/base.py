"""The seam between the backbone and an action head: slots in, loss or chunk out.

A head owns K token positions (slots) after the prompt. It says what is embedded there, and reads its actions off the
backbone's hidden states at the same positions.

Letters in shapes: B batch, K slots, D hidden, S state, C chunk, A action. States and actions are normalised.
"""

from __future__ import annotations

import torch
from torch import nn


class ActionHead(nn.Module):
    """Base of every action head. Heads compute in float32 whatever the backbone's type."""

    name: str
    """Its name in `configs/head`."""

    def __init__(self, *, num_slots: int, chunk: int, action_dim: int) -> None:
        super().__init__()
        self.num_slots = num_slots
        self.chunk = chunk
        self.action_dim = action_dim

    def slots(self, state: torch.Tensor | None, *, batch_size: int) -> torch.Tensor:
        """Embeddings (B,K,D) to write at the slot positions; `state` is (B,S), None when the policy has no state."""
        raise NotImplementedError

    def loss(
        self, hidden: torch.Tensor, *, actions: torch.Tensor, action_is_pad: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """{"loss": scalar, detached scalars to log} from hidden (B,K,D), actions (B,C,A), padding (B,C) bool."""
        raise NotImplementedError

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """Normalised action chunk (B,C,A) from the hidden states at the slots (B,K,D)."""
        raise NotImplementedError
