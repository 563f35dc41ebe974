"""The vision tower for pictures of one size: its layout, positions and windows are worked out once.

Letters in shapes: N pictures of p patches, V = p/4 visual tokens a picture, T tower width, D hidden, h heads of width
d.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from vst_vla.vla.fast.layers import Attend, LayerWeights, additive, fused, run_layer, signed, vision_weights
from vst_vla.vla.memory import Rotation
from vst_vla.vla.vision import Grid, patch_rotation, tower_layout


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What the tower needs to know of pictures of one grid."""

    order: torch.Tensor | None  # (V,) a picture's visual tokens in window order; None when that is the given order
    rotation: Rotation  # of the patches in window order, (p,1,d) float32
    window: int | None  # patches of a window, where all have as many
    mask: torch.Tensor | None  # (p,p) additive, patches that share a window, where they have not


class Tower:
    """The tower's weights behind one call. A still picture's two frames are equal: one is embedded, by both weights."""

    def __init__(self, tower: Qwen2_5_VisionTransformerPretrainedModel) -> None:
        self._tower = tower
        self._embed = tower.patch_embed.proj.weight.detach().sum(dim=2).flatten(1)  # (T, 3*14*14)
        self._layers: list[LayerWeights] = [vision_weights(block) for block in tower.blocks]
        for linear in (tower.merger.mlp[0], tower.merger.mlp[2]):
            fused([linear])

    def look(self, grid: Grid) -> View:
        """The view of pictures of a grid (1, rows, columns) in patches."""
        device = self._embed.device
        layout = tower_layout(self._tower, (grid,), device=str(device))
        lengths = layout.windows.lengths
        equal = len(set(lengths)) == 1
        owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(device)
        mask = additive(owner[:, None] == owner, dtype=self._embed.dtype)
        cos, sin = patch_rotation(self._tower, layout)
        return View(
            order=layout.window_order,
            rotation=signed((cos[:, None], sin[:, None])),
            window=lengths[0] if equal else None,
            mask=None if equal else mask,
        )

    def __call__(self, patches: torch.Tensor, view: View) -> torch.Tensor:
        """Patches (N, p, 3*14*14), a frame each, in the order of `view` -> visual tokens (N,V,D) in that order."""
        hidden = F.linear(patches.to(self._embed.dtype), self._embed)
        full: Attend = partial(_attend, window=None, mask=None)
        windowed: Attend = partial(_attend, window=view.window, mask=view.mask)
        whole = set(self._tower.fullatt_block_indexes)
        for index, weights in enumerate(self._layers):
            attend = full if index in whole else windowed
            hidden = run_layer(hidden, weights, rotation=view.rotation, attend=attend)
        return self._merge(hidden)

    def _merge(self, hidden: torch.Tensor) -> torch.Tensor:
        merger = self._tower.merger
        seen = F.rms_norm(hidden, hidden.shape[-1:], merger.ln_q.weight, merger.ln_q.variance_epsilon)
        output: torch.Tensor = merger.mlp(seen.unflatten(1, (-1, self._tower.spatial_merge_unit)).flatten(2))
        return output


def _attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, *, window: int | None, mask: torch.Tensor | None
) -> torch.Tensor:
    """(N,p,h,d) -> (N,p,h*d), each patch with its picture's, or with those of its window."""

    def grouped(part: torch.Tensor) -> torch.Tensor:
        windows = part if window is None else part.unflatten(1, (-1, window)).flatten(0, 1)
        return windows.transpose(1, 2)

    mixed = F.scaled_dot_product_attention(grouped(queries), grouped(keys), grouped(values), attn_mask=mask)
    return mixed.transpose(1, 2).reshape(*queries.shape[:2], -1)
