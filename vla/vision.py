"""Images to visual tokens and M-RoPE positions, without a Python loop over images.

transformers' vision tower runs one attention call an image and a layer, and lays out its positions image by image;
64 small images a batch then cost more in dispatch than in arithmetic. Here the layout is computed once per set of grids
and kept, and a registered attention function runs all segments of one length as one batch. The tower's own blocks,
weights and gradient checkpointing are used as they are, and results equal the stock path's to rounding.

Letters in shapes: N images, P patches (4 a visual token), V visual tokens, B batch, L tokens, D hidden, h heads of
width d.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from vst_vla.vla.attention import attend

SEGMENT_ATTENTION = "segment_sdpa"

Grid = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """A packed sequence of P patches cut into segments that attend within themselves, grouped by length."""

    lengths: tuple[int, ...]  # every segment in order
    groups: tuple[tuple[int, torch.Tensor], ...]  # (length, indices (n * length,)) for each distinct length


@dataclass(frozen=True, kw_only=True, eq=False)
class VisionLayout:
    """Everything about a batch of images that depends on their grids alone."""

    patch_positions: torch.Tensor  # (P,2) row and column of each patch, in window order
    window_order: torch.Tensor | None  # (V,) visual tokens in window order; None when that is the given order
    images: Segments  # attention within an image
    windows: Segments  # attention within a window


def register_attention() -> None:
    """Makes `SEGMENT_ATTENTION` known to transformers; idempotent."""
    AttentionInterface.register(SEGMENT_ATTENTION, segment_attention)


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    scaling: float | None = None,
    segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each segment of one packed row (1,h,P,d) -> (1,P,h,d); the whole row when none are given."""
    assert attention_mask is None, "a vision tower has no mask"
    if segments is None:
        return attend(query, key, value, scale=scaling).transpose(1, 2), None
    packed = tuple(part[0].transpose(0, 1) for part in (query, key, value))  # (P,h,d)
    if len(segments.groups) == 1:
        return _batched(packed, length=segments.groups[0][0], scaling=scaling)[None], None
    output = torch.empty_like(packed[0])
    for length, index in segments.groups:
        group = tuple(part.index_select(0, index) for part in packed)
        output = output.index_copy(0, index, _batched(group, length=length, scaling=scaling))
    return output[None], None


def encode_images(
    tower: Qwen2_5_VisionTransformerPretrainedModel, pixel_values: torch.Tensor, *, grids: tuple[Grid, ...]
) -> torch.Tensor:
    """Patches (P, 3*2*14*14) of N images -> visual tokens (V,D), in image order."""
    layout = tower_layout(tower, grids, device=str(pixel_values.device))
    projection = tower.patch_embed.proj.weight
    hidden = F.linear(pixel_values.to(projection.dtype), projection.flatten(1))
    hidden = _reorder(hidden, layout.window_order, unit=tower.spatial_merge_unit)
    rotation = patch_rotation(tower, layout)
    for index, block in enumerate(tower.blocks):
        segments = layout.images if index in tower.fullatt_block_indexes else layout.windows
        hidden = block(hidden, position_embeddings=rotation, **_attention_arguments(tower, segments, hidden))
    merged = tower.merger(hidden)
    return merged if layout.window_order is None else merged[torch.argsort(layout.window_order)]


def tower_layout(
    tower: Qwen2_5_VisionTransformerPretrainedModel, grids: tuple[Grid, ...], *, device: str
) -> VisionLayout:
    """The layout of images with grids (t,h,w) in patches, for this tower's windows."""
    window = int(tower.window_size) // int(tower.spatial_merge_size) // int(tower.patch_size)
    return vision_layout(grids, merge=tower.spatial_merge_size, window=window, device=device)


def patch_rotation(
    tower: Qwen2_5_VisionTransformerPretrainedModel, layout: VisionLayout
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine (P,d) by which each patch's queries and keys are turned, in float32."""
    angles = (layout.patch_positions[..., None] * tower.rotary_pos_emb.inv_freq).flatten(1).repeat(1, 2)
    return angles.cos(), angles.sin()


@lru_cache(maxsize=32)
def vision_layout(grids: tuple[Grid, ...], *, merge: int, window: int, device: str) -> VisionLayout:
    """The layout of N images with grids (t,h,w) in patches; `window` is a window's side in visual tokens."""
    parts = [_image_layout(grid, merge=merge, window=window) for grid in grids]
    sizes = [len(order) for _, order, _ in parts]
    starts = torch.tensor([0, *sizes]).cumsum(0)
    order = torch.cat([part[1] + start for part, start in zip(parts, starts[:-1], strict=True)])
    positions = _reorder(torch.cat([part[0] for part in parts]), order, unit=merge**2)
    in_order = bool((order == torch.arange(len(order))).all())
    return VisionLayout(
        patch_positions=positions.to(device),
        window_order=None if in_order else order.to(device),
        images=_segments([h * w for t, h, w in grids for _ in range(t)], device=device),
        windows=_segments([length for part in parts for length in part[2]], device=device),
    )


def rope_positions(
    image_mask: torch.Tensor, *, grids: tuple[Grid, ...], merge: int, attention_mask: torch.Tensor | None
) -> torch.Tensor:
    """M-RoPE positions (3,B,L) of still images and text, right padded; equal to `get_rope_index` of Qwen2.5-VL.

    Args:
        image_mask: (B,L) bool, true on visual tokens; their order is the order of `grids`.
        grids: (t,h,w) in patches of each image, t being 1.
        merge: patches along a side of one visual token.
        attention_mask: (B,L), 0 on padding; None when there is none.
    """
    offsets = torch.zeros(*image_mask.shape, 3, dtype=torch.long, device=image_mask.device)
    advance = torch.ones_like(image_mask, dtype=torch.long)
    if grids:
        table = _position_table(grids, merge=merge, device=str(image_mask.device))
        offsets[image_mask] = table[:, :3]
        advance[image_mask] = table[:, 3]
    positions = (advance.cumsum(1) - advance)[..., None] + offsets
    if attention_mask is not None:
        positions = positions * attention_mask[..., None]
    return positions.permute(2, 0, 1)


def _batched(packed: tuple[torch.Tensor, ...], *, length: int, scaling: float | None) -> torch.Tensor:
    """Attention of equally long segments, (P,h,d) -> (P,h,d), as a batch of P/length rows."""
    query, key, value = (part.unflatten(0, (-1, length)).transpose(1, 2) for part in packed)
    return attend(query, key, value, scale=scaling).transpose(1, 2).flatten(0, 1)


def _attention_arguments(
    tower: Qwen2_5_VisionTransformerPretrainedModel, segments: Segments, hidden: torch.Tensor
) -> dict[str, Any]:
    """How a block is told its segments: ours takes them whole; any other attention gets the stock boundaries."""
    ours = tower.config._attn_implementation == SEGMENT_ATTENTION
    lengths = (len(hidden),) if ours else segments.lengths
    bounds = torch.tensor([0, *lengths], device=hidden.device).cumsum(0, dtype=torch.int32)
    return {"cu_seqlens": bounds, "segments": segments} if ours else {"cu_seqlens": bounds}


def _reorder(patches: torch.Tensor, order: torch.Tensor | None, *, unit: int) -> torch.Tensor:
    """(P,...) with its groups of `unit` patches, one a visual token, in another order."""
    return patches if order is None else patches.unflatten(0, (-1, unit))[order].flatten(0, 1)


def _segments(lengths: list[int], *, device: str) -> Segments:
    owner = torch.repeat_interleave(torch.tensor(lengths), torch.tensor(lengths))  # (P,) its segment's length
    groups = tuple((size, torch.nonzero(owner == size)[:, 0].to(device)) for size in sorted(set(lengths)))
    return Segments(lengths=tuple(lengths), groups=groups)


@lru_cache(maxsize=256)
def _image_layout(grid: Grid, *, merge: int, window: int) -> tuple[torch.Tensor, torch.Tensor, tuple[int, ...]]:
    """One image: patch positions (P,2) by visual token, visual tokens in window order (V,), patches of each window."""
    frames, height, width = grid
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    patches = torch.stack([rows, columns], dim=-1).unflatten(1, (-1, merge)).unflatten(0, (-1, merge))
    positions = patches.transpose(1, 2).reshape(-1, 2).repeat(frames, 1)
    high, wide = height // merge, width // merge
    frame, row, column = torch.meshgrid(*(torch.arange(n) for n in (frames, high, wide)), indexing="ij")
    windows_wide = -(-wide // window)
    windows = (frame * -(-high // window) + row // window) * windows_wide + column // window
    order = torch.argsort(windows.flatten(), stable=True)
    counts = torch.bincount(windows.flatten()) * merge**2
    return positions, order, tuple(counts.tolist())


@lru_cache(maxsize=32)
def _position_table(grids: tuple[Grid, ...], *, merge: int, device: str) -> torch.Tensor:
    """(V,4): time, height and width offsets of each visual token, and how far the position moves on after it."""
    rows = []
    for _, height, width in grids:
        high, wide = height // merge, width // merge
        row, column = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
        table = torch.zeros(high * wide, 4, dtype=torch.long)
        table[:, 1], table[:, 2] = row.flatten(), column.flatten()
        table[-1, 3] = max(high, wide)
        rows.append(table)
    return torch.cat(rows).to(device)
