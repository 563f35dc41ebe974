"""Pointing: the words that name an object in a question are drawn to the visual tokens that show it.

Before a network from random weights can answer anything about a named object it has to find it, and the answer's few
words hardly teach that. Here every name is held against all visual tokens of its question's pictures, a contrast of one
against many, as in Grounded Language-Image Pre-training (Li et al. 2021, arXiv 2112.03857); and where its object is has
to be read off the name itself, so that attention carries it there: in the robot's axes, and of one picture alone in its
camera's. For training alone.

Letters: V visual tokens, D hidden, M names, c cells of a token's side, P pairs of a name and a cell.
"""

from __future__ import annotations

import torch
from torch import nn

from vst_vla.vla.geometry.cells import Cells
from vst_vla.vla.geometry.readouts import LENGTH, REACH

WIDTH = 64


class Pointing(nn.Module):
    """Cross-entropy between where a name points and where its object is, and how far off that is said to be.

    Args:
        hidden_dim: D.
    """

    def __init__(self, *, hidden_dim: int) -> None:
        super().__init__()
        self.names = nn.Sequential(nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, WIDTH))
        self.tokens = nn.Sequential(nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, WIDTH))
        self.place = nn.Sequential(
            nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, 6)
        )

    def forward(
        self,
        states: torch.Tensor,
        cells: Cells,
        *,
        named: torch.Tensor,
        mentions: torch.Tensor,
        meant: torch.Tensor,
        shown: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """{"loss", and to log "hit", "place_error" and, of conversations, "seen_error"}.

        The share of names whose best token shows their object, and how far off places are in the robot's axes and in
        the camera's, m.

        Args:
            states: (V,D) of visual tokens.
            cells: what they show.
            named: (M,D) states of the names' last tokens.
            mentions: (M,4) of each name: its place, the first and one past the last of its visual tokens, and in how
                many pictures those are.
            meant: (P,2) a name's number and that of a cell which shows what it means, among the V * c * c.
            shown: (M,V) the same counted by token, see `shown_cells`.
        """
        _, first, end, pictures = mentions.unbind(1)
        number = torch.arange(len(states), device=states.device)
        own = (number >= first[:, None]) & (number < end[:, None])  # (M,V)
        width = self.names[0].weight.dtype
        scores = self.names(named.to(width)) @ self.tokens(states.to(width)).T / WIDTH**0.5
        scores = scores.float().masked_fill(~own, -torch.inf)
        target = shown / shown.sum(1, keepdim=True)
        entropy = -(target * scores.log_softmax(1).masked_fill(~own, 0.0)).sum(1)
        best = shown.gather(1, scores.argmax(1, keepdim=True)) > 0
        said = self.place(named.to(width)).float()
        middles = {"cells": cells, "meant": meant, "num_names": len(named)}
        placed = cells.points if cells.placed is None else cells.placed
        error = place_error(said[:, :3], *meant_places(placed, **middles))
        log = {"hit": best.float().mean(), "place_error": error.detach()}
        if cells.placed is None:  # points are in the robot's axes, not a camera's
            return {"loss": entropy.mean() + error / LENGTH, **log}
        middle, known = meant_places(cells.points, **middles)
        seen_error = place_error(said[:, 3:], middle, known & (pictures == 1))
        return {"loss": entropy.mean() + (error + seen_error) / LENGTH, **log, "seen_error": seen_error.detach()}


def shown_cells(meant: torch.Tensor, *, num_names: int, num_tokens: int, each: int) -> torch.Tensor:
    """In how many of a token's `each` cells a name's object is, (M,V)."""
    counts = torch.zeros(num_names, num_tokens, device=meant.device)
    return counts.index_put((meant[:, 0], meant[:, 1] // each), counts.new_ones(len(meant)), accumulate=True)


def named_cells(named: torch.Tensor, classes: torch.Tensor, *, shape: torch.Size) -> dict[str, torch.Tensor]:
    """`mentions` and `meant` of the names in a batch of instructions; nothing where no object named is in view.

    All pictures of a row count as one: where an object is in the robot's axes is the same in each.

    Args:
        named: (M,2) each name's place among the batch's B*L tokens, and its class.
        classes: (V,c*c) what the cells show, V/B visual tokens a row.
        shape: (B,L).
    """
    batch_size, length = shape
    tokens, each = len(classes) // batch_size, classes.shape[1]
    place, number = named.unbind(1)
    row = place.div(length, rounding_mode="floor")
    shows = classes.view(batch_size, -1)[row] == number[:, None]  # (M, cells of a row)
    seen = shows.any(1)
    if not bool(seen.any()):
        return {}
    first = row[seen] * tokens
    mentions = torch.stack([place[seen], first, first + tokens, torch.ones_like(first)], dim=1)
    name, cell = shows[seen].nonzero(as_tuple=True)
    return {"mentions": mentions, "meant": torch.stack([name, first[name] * each + cell], dim=1)}


def meant_places(
    points: torch.Tensor, *, cells: Cells, meant: torch.Tensor, num_names: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The middle (M,3) of the cells within reach that each name means, and whether there are any (M,).

    Args:
        points: (V,c*c,3) of all cells, in any axes.
        cells: of which those count that are drawn and within reach.
        meant: see `Pointing`.
        num_names: M.
    """
    names, cell = meant.unbind(1)
    counted = (cells.drawn & (cells.depth < REACH)).float().flatten()[cell]
    count = points.new_zeros(num_names).index_add(0, names, counted)
    total = points.new_zeros(num_names, 3).index_add(0, names, points.flatten(0, 1)[cell] * counted[:, None])
    return total / count.clamp(min=1.0)[:, None], count > 0


def place_error(said: torch.Tensor, middle: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean distance along an axis, m, of places (...,3) from where they are, of the known ones (...,)."""
    counted = known.float()
    return ((said - middle).abs().mean(-1) * counted).sum() / counted.sum().clamp(min=1.0)
