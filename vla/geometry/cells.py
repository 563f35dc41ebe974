"""Labels of what the cells of the policy's pictures show, gathered by visual token.

A visual token covers c x c cells, so that what it is asked about is finer than it is.

Letters: B batch, K cameras, n cells of a picture's side, V visual tokens (all of a batch's, in the order of its
pictures), c cells of a token's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

TOKEN_PX = 28
"""Side of what a visual token of Qwen2.5-VL covers: 14 px patches merged 2 x 2."""
LABELLED = 32
"""Cells of a side of the labels that `vst-vla demos` makes: finer ones than these would be the same ones again."""
MILLIMETRES = 1000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """A batch's labels, c * c for each visual token."""

    classes: torch.Tensor  # (V,c*c) int64
    depth: torch.Tensor  # (V,c*c) float32, m
    points: torch.Tensor  # (V,c*c,3) float32, m, in the frame of `observation.state`
    drawn: torch.Tensor  # (V,c*c) bool: something is there to have a depth
    placed: torch.Tensor | None = None  # (V,c*c,3) float32, m, in the robot's axes, of conversations' pictures
    marks: torch.Tensor | None = None  # (V,c*c) int64: which point is drawn on it, likewise, see `data.labeller`


def cells_a_token(image_size: int) -> int:
    """The cells c of a token's side, for pictures of that many pixels a side."""
    return max(1, LABELLED // (image_size // TOKEN_PX))


def cells_a_side(image_size: int) -> int:
    """The cells n of a picture's side, for pictures of that many pixels a side."""
    return image_size // TOKEN_PX * cells_a_token(image_size)


def by_token(labels: torch.Tensor, *, each: int) -> Cells:
    """Labels (B,K,n,n,5) int16 of `contracts.CELL_NUMBERS`, with `each` cells c a token's side."""
    tokens = labels.shape[2] // each
    blocks = labels.unflatten(3, (tokens, each)).unflatten(2, (tokens, each))  # (B,K,n/c,c,n/c,c,5)
    return to_cells(blocks.transpose(3, 4).reshape(-1, each**2, labels.shape[-1]))


def to_cells(numbers: torch.Tensor, *, poses: torch.Tensor | None = None, marks: torch.Tensor | None = None) -> Cells:
    """Labels (V,c*c,5) int16 of `contracts.CELL_NUMBERS`, of each visual token.

    Args:
        numbers: the labels.
        poses: (V,3,4) of the token's camera in the robot's axes, m, where they are known.
        marks: (V,c*c) the points drawn on the cells, likewise.
    """
    metres = numbers[..., 1:].float() / MILLIMETRES
    points = metres[..., 1:]
    return Cells(
        classes=numbers[..., 0].long(),
        depth=metres[..., 0],
        points=points,
        drawn=numbers[..., 1] > 0,
        placed=None if poses is None else points @ poses[..., :3].mT + poses[:, None, :, 3],
        marks=marks,
    )
