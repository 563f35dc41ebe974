"""Dense readouts: every visual token says which object each of its cells shows, how far off it is, and where.

Of conversations' pictures also where in the robot's own axes, which all pictures of a scene share, so that one can be
held against another; and which point is drawn there.

From random weights these targets, dense and the same in every picture, are what makes grounding start; one sparse
question a picture teaches nothing. They are for training alone: acting has no use for them.

Letters: V visual tokens, D hidden, c cells of a token's side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vst_vla.vla.geometry.cells import Cells

LENGTH = 0.2
"""m by which a depth or a point must be off to cost as much as one nat of its class."""
REACH = 2.5
"""m beyond which (walls, floor) depths and points are not asked for."""
BALANCE = 0.5
"""Power of a class's cells in a batch by which each of them counts less: 0 all cells alike, 1 all classes alike."""


class Readouts(nn.Module):
    """A small network from a visual token's state to class, depth and point of its cells.

    Args:
        hidden_dim: D.
        num_classes: that the labels number.
        each: c.
        num_marks: that the labels of conversations' pictures number; 0 for demonstrations, whose points are in the
            robot's axes as they are.
    """

    def __init__(self, *, hidden_dim: int, num_classes: int, each: int, num_marks: int = 0) -> None:
        super().__init__()
        self.num_classes, self.num_cells = num_classes, each**2
        self.parts = [num_classes, 1, 3, *((3, num_marks) if num_marks else ())]
        self.norm = nn.LayerNorm(hidden_dim)
        self.decode = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, self.num_cells * sum(self.parts))
        )

    def read(self, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """States (V,D) -> class logits (V,c*c,classes), depths (V,c*c,1) and points (V,c*c,3) in m.

        With marks also the points in the robot's axes, and the marks' logits (V,c*c,marks).
        """
        output = self.decode(self.norm(states.to(self.norm.weight.dtype))).float().unflatten(-1, (self.num_cells, -1))
        return output.split(self.parts, dim=-1)

    def forward(self, states: torch.Tensor, cells: Cells) -> dict[str, torch.Tensor]:
        """{"loss", and to log: "class_accuracy", "depth_error" and "point_error" in m}, rare classes counting more.

        With marks also "place_error" in m and "mark_accuracy".
        """
        logits, depth, points, *others = self.read(states)
        share = _shares(cells.classes, num_classes=self.num_classes)
        entropy = F.cross_entropy(logits.transpose(1, 2), cells.classes, reduction="none")
        near = share * (cells.drawn & (cells.depth < REACH))
        near = near / near.sum().clamp(min=1e-9)
        depth_error = (near * (depth[..., 0] - cells.depth).abs()).sum()
        point_error = (near * (points - cells.points).abs().mean(-1)).sum()
        right = (logits.detach().argmax(-1) == cells.classes).float()
        found = {
            "loss": (share * entropy).sum() + (depth_error + point_error) / LENGTH,
            "class_accuracy": (share * right).sum(),
            "depth_error": depth_error.detach(),
            "point_error": point_error.detach(),
        }
        return found if not others else _with_marks(found, *others, cells=cells, near=near)


def _with_marks(
    found: dict[str, torch.Tensor], placed: torch.Tensor, logits: torch.Tensor, *, cells: Cells, near: torch.Tensor
) -> dict[str, torch.Tensor]:
    assert cells.placed is not None
    assert cells.marks is not None
    place_error = (near * (placed - cells.placed).abs().mean(-1)).sum()
    share = _shares(cells.marks, num_classes=logits.shape[-1], balance=1.0)  # most cells have none
    entropy = F.cross_entropy(logits.transpose(1, 2), cells.marks, reduction="none")
    loss = found["loss"] + place_error / LENGTH + (share * entropy).sum()
    accuracy = (share * (logits.detach().argmax(-1) == cells.marks)).sum()
    return found | {"loss": loss, "place_error": place_error.detach(), "mark_accuracy": accuracy}


def _shares(classes: torch.Tensor, *, num_classes: int, balance: float = BALANCE) -> torch.Tensor:
    """How much each cell (V,c*c) counts, 1 in all."""
    counts = torch.bincount(classes.flatten(), minlength=num_classes).clamp(min=1)
    weights = counts.float().pow(-balance)[classes]
    return weights / weights.sum()
