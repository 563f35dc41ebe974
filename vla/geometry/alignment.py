"""Alignment of visual tokens with exact geometry: a projection of each points the way that its 3-D points do.

After Spatial Forcing (Li et al. 2025, arXiv 2510.12276), which aligns a middle layer's visual tokens by cosine with the
features of a pretrained 3-D model (VGGT). Here the simulator's points themselves, in sines and cosines of doubling
frequencies, are the target. It is for training alone.

Letters: V visual tokens, D hidden, c cells of a token's side, E numbers of an encoding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vst_vla.vla.geometry.cells import Cells

OCTAVES = 6
LONGEST = 4.0
"""m: the longest wave, over all that a robot on a table sees; the shortest is 2**(OCTAVES - 1) times shorter."""


class Alignment(nn.Module):
    """A projection of the visual tokens' states, and one minus its cosine with the encoded points.

    Args:
        hidden_dim: D.
    """

    def __init__(self, *, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_dim)
        self.project = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, 3 * 2 * OCTAVES)
        )

    def forward(self, states: torch.Tensor, cells: Cells) -> dict[str, torch.Tensor]:
        """{"loss", and to log "cosine"}: means over the tokens (V,D) in which anything is drawn."""
        drawn = cells.drawn.float()[..., None]
        target = (encode_points(cells.points) * drawn).sum(1) / drawn.sum(1).clamp(min=1.0)
        projected = self.project(self.norm(states.to(self.norm.weight.dtype))).float()
        cosine = F.cosine_similarity(projected, target, dim=-1)
        seen = cells.drawn.any(1).float()
        mean = (cosine * seen).sum() / seen.sum().clamp(min=1.0)
        return {"loss": 1.0 - mean, "cosine": mean.detach()}


def encode_points(points: torch.Tensor) -> torch.Tensor:
    """Points (...,3) in m -> (...,E): sines and cosines at each frequency (as in NeRF, Mildenhall et al. 2020)."""
    waves = 2.0 ** torch.arange(OCTAVES, device=points.device) * (2 * torch.pi / LONGEST)
    angles = (points[..., None] * waves).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
