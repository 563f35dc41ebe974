"""Gaze: names in a question attend to the visual tokens that show what they mean, by the network's own attention.

`Pointing` makes a name and its object alike; here the network is shown what that is good for. In the layer before the
one that is listened to, part of the heads of every name are drawn to its object's tokens, so that what these hold
(which object, how far, where) reaches the name, and the layers behind can answer from it. Liu et al. 2016 (arXiv
1609.04186) taught a translator's attention so to follow word alignments. For training alone; the network gains nothing.

Letters: B batch, L tokens, N = B*L, V visual tokens, M names, h heads, d their width.
"""

from __future__ import annotations

import torch
from torch import nn


class Gaze(nn.Module):
    """How little of the looking heads' attention names give to what they mean.

    Args:
        num_heads: of the layer's queries.
        num_groups: of heads that share keys; the first half of them (at least one) look.
    """

    def __init__(self, *, num_heads: int, num_groups: int) -> None:
        super().__init__()
        self.each = num_heads // num_groups
        self.looking = max(1, num_groups // 2)

    def forward(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        *,
        places: torch.Tensor,
        mentions: torch.Tensor,
        shown: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """{"loss": minus the log of the share of attention on the object's tokens, and to log that "share"}.

        Args:
            queries: (N,h,d) of the batch's tokens, rotated to their positions.
            keys: (N,groups,d), likewise.
            places: (V,) of the visual tokens among the N.
            mentions: (M,4), see `Pointing`.
            shown: (M,V) above 0 where a token shows what a name means.
        """
        place, first, _, _ = mentions.unbind(1)
        asked = queries[place, : self.looking * self.each].unflatten(1, (self.looking, self.each)).float()
        scores = torch.einsum("mgkd,ngd->mgkn", asked, keys[:, : self.looking].float()) / queries.shape[-1] ** 0.5
        token = torch.arange(len(queries), device=places.device)
        heard = (token >= places[first][:, None]) & (token <= place[:, None])  # (M,N) from its pictures to the name
        scores = scores.masked_fill(~heard[:, None, None], -torch.inf)
        on_object = scores[..., places].masked_fill((shown == 0)[:, None, None], -torch.inf)
        share = (on_object.logsumexp(-1) - scores.logsumexp(-1)).flatten(1)  # (M,heads) logarithms
        return {"loss": -share.mean(), "share": share.detach().exp().mean()}
