"""Recall: where an answer is said, the network knows where all things are that its question names, in their order.

`Pointing` brings an object's place to its name. To compare two of them, one token has to hold both, and apart: the one
that says which it is, be that the first ("blue-point plate") or a digit or letter behind it ("0.62 m", "C, A, B").
Attention that is drawn to both alike brings their mean, off which no comparison can be read. Places are read off by one
linear map, so that the layers behind can take differences. Alain and Bengio 2016 (arXiv 1610.01644) read layers off so
to understand them; here they are taught by it. For training alone.

Letters: R tokens of answers, D hidden, M names, P pairs of a name and a cell, V visual tokens, c cells of a token.
"""

from __future__ import annotations

import torch
from torch import nn

from vst_vla.vla.geometry.cells import Cells
from vst_vla.vla.geometry.pointing import meant_places, place_error
from vst_vla.vla.geometry.readouts import LENGTH

MOST = 6
"""Names of a question that are recalled; those behind them are not."""
WORDS = 6
"""Tokens of an answer, from its first, that are predicted from what is recalled."""


class Recall(nn.Module):
    """How far off the places are said to be that answers are said from.

    Args:
        hidden_dim: D.
    """

    def __init__(self, *, hidden_dim: int) -> None:
        super().__init__()
        self.place = nn.Sequential(nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, MOST * 6))

    def forward(
        self,
        answers: torch.Tensor,
        cells: Cells,
        *,
        names: torch.Tensor,
        mentions: torch.Tensor,
        meant: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """{"loss", and to log "place_error" and "seen_error": how far off in the robot's axes and the camera's, m}.

        Args:
            answers: (R,D) states from which answers' first `WORDS` tokens are predicted.
            cells: what visual tokens show, of conversations' pictures.
            names: (R,MOST) the numbers of the names in each one's question, in order, and -1 where there are no more.
            mentions: (M,4), see `Pointing`.
            meant: (P,2), likewise.
        """
        assert cells.placed is not None
        said = self.place(answers.to(self.place[0].weight.dtype)).float().unflatten(1, (MOST, 6))
        given, which = names >= 0, names.clamp(min=0)
        alone = given & (mentions[:, 3][which] == 1)  # one picture, so one camera
        middles = {"cells": cells, "meant": meant, "num_names": len(mentions)}
        placed, known = meant_places(cells.placed, **middles)
        seen, _ = meant_places(cells.points, **middles)
        error = place_error(said[..., :3], placed[which], known[which] & given)
        seen_error = place_error(said[..., 3:], seen[which], known[which] & alone)
        return {
            "loss": (error + seen_error) / LENGTH,
            "place_error": error.detach(),
            "seen_error": seen_error.detach(),
        }
