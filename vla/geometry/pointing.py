"""Pointing: the words that name an object in a question are drawn to the visual tokens that show it.

Before a network from random weights can answer anything about a named object it has to find it, and the answer's few
words hardly teach that. Here every name is held against all visual tokens of its question's pictures, a contrast of one
against many, as in Grounded Language-Image Pre-training (Li et al. 2021, arXiv 2112.03857). For training alone.

Letters: V visual tokens, D hidden, M names, c cells of a token's side.
"""

from __future__ import annotations

import torch
from torch import nn

from vst_vla.vla.geometry.cells import Cells

WIDTH = 64


class Pointing(nn.Module):
    """Cross-entropy between where a name points and where its object is.

    Args:
        hidden_dim: D.
    """

    def __init__(self, *, hidden_dim: int) -> None:
        super().__init__()
        self.names = nn.Sequential(nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, WIDTH))
        self.tokens = nn.Sequential(nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, WIDTH))

    def forward(
        self, states: torch.Tensor, cells: Cells, *, named: torch.Tensor, mentions: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """{"loss", and to log "hit": the share of names whose best token shows their object}.

        Args:
            states: (V,D) of visual tokens.
            cells: what they show.
            named: (M,D) states of the names' last tokens.
            mentions: (M,4) of each name: its place, its class, the first and one past the last of its visual tokens.
        """
        _, classes, first, end = mentions.unbind(1)
        number = torch.arange(len(states), device=states.device)
        own = (number >= first[:, None]) & (number < end[:, None])  # (M,V)
        shown = (cells.classes == classes[:, None, None]).sum(-1) * own
        width = self.names[0].weight.dtype
        scores = self.names(named.to(width)) @ self.tokens(states.to(width)).T / WIDTH**0.5
        scores = scores.float().masked_fill(~own, -torch.inf)
        target = shown / shown.sum(1, keepdim=True)
        entropy = -(target * scores.log_softmax(1).masked_fill(~own, 0.0)).sum(1)
        best = shown.gather(1, scores.argmax(1, keepdim=True)) > 0
        return {"loss": entropy.mean(), "hit": best.float().mean()}
