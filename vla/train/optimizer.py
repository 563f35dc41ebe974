"""What changes the weights: AdamW, or Muon on the blocks' matrices with AdamW on everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

ADAMW = "adamw"
MUON = "muon"
OPTIMIZERS = (ADAMW, MUON)
VISION_NAME = "visual"
BLOCK_NAMES = ("visual.blocks.", "language_model.layers.", "expert.layers.")
MODULATION = "modulate"
"""Of norms by the time of a flow: it starts at nothing, which an orthogonal update would not keep small."""

Groups = list[dict[str, Any]]


def make_optimizer(groups: Groups, *, name: str, betas: tuple[float, float], eps: float) -> torch.optim.Optimizer:
    """The optimizer `name` over the groups of `parameter_groups`; `betas` and `eps` are AdamW's."""
    blocks = [group for group in groups if group["muon"]] if name == MUON else []
    if not blocks:
        return torch.optim.AdamW(groups, betas=betas, eps=eps, fused=True)
    return MuonAdamW(blocks, others=[group for group in groups if not group["muon"]], betas=betas, eps=eps)


class MuonAdamW(torch.optim.Optimizer):
    """Muon on `blocks`, AdamW on `others`: one optimizer to schedulers and checkpoints.

    Muon takes a matrix's update to its nearest orthogonal one, so that no direction of a layer starves. Transformers
    that start from random weights then need far fewer steps; released weights, which AdamW made, keep AdamW. Source:
    K. Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024); updates are scaled to AdamW's size, so
    that both parts share a learning rate (Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982).

    Args:
        blocks: groups of matrices.
        others: groups of anything.
        betas, eps: AdamW's.
    """

    def __init__(self, blocks: Groups, *, others: Groups, betas: tuple[float, float], eps: float) -> None:
        self._parts: Sequence[torch.optim.Optimizer] = (
            torch.optim.Muon(blocks, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=betas, eps=eps, fused=True),
        )
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of both parts."""
        assert closure is None, "neither part evaluates the model again"
        for part in self._parts:
            part.step()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A loaded state replaces groups and moments: the parts must see the new ones."""
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        start = 0
        for part in self._parts:
            end = start + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[start:end], self.state
            start = end


def parameter_groups(model: nn.Module, *, learning_rate: float, vision_lr_ratio: float, weight_decay: float) -> Groups:
    """Trainable parameters in groups; biases, norms and other vectors are not decayed.

    Each group's `muon` says whether it holds the matrices of transformer blocks; never embeddings or heads.
    """
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            in_block = parameter.ndim == 2 and any(block in name for block in BLOCK_NAMES) and MODULATION not in name
            groups[VISION_NAME in name, parameter.ndim >= 2, in_block].append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (vision_lr_ratio if is_vision else 1.0),
            "weight_decay": weight_decay if is_matrix else 0.0,
            "muon": in_block,
        }
        for (is_vision, is_matrix, in_block), parameters in groups.items()
    ]
