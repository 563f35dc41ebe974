"""Euler integration of a flow from noise to actions, on its own or so that the chunk continues a given beginning.

The second is real-time chunking (Black et al. 2025, arXiv 2506.07339): while a chunk is worked out the arm goes on
with the last one, so the new one has to begin with the actions that run meanwhile. At every step the velocity is
corrected by how far the chunk it leads to misses the beginning, carried back through the network (pseudo-inverse
guidance, Song et al. 2023). Times are openpi's: x_t = t noise + (1 - t) actions, from t = 1 to 0.

Letters in shapes: B batch, C chunk, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from vst_vla.vla.heads.base import ActingPrompts

MOST_GUIDANCE = 5.0
"""The paper's beta, at most which the correction is multiplied with."""

Velocity = Callable[[torch.Tensor, float], torch.Tensor]
"""dx/dt (B,C,A) of noisy chunks (B,C,A) at one time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Beginning:
    """What chunks begin with: normalised actions (B,C,A), and which of their steps are given, (B,C) bool."""

    actions: torch.Tensor
    given: torch.Tensor

    def to(self, device: torch.device) -> Beginning:
        """The same on another device."""
        return Beginning(actions=self.actions.to(device), given=self.given.to(device))


class Inpainting(Protocol):
    """A head whose chunks can continue a beginning: `inpaints` is true."""

    def predict(self, prompts: ActingPrompts, *, begin: Beginning | None = None) -> torch.Tensor:
        """Normalised actions (B,C,A)."""
        ...


def integrate(velocity: Velocity, noise: torch.Tensor, *, steps: int, begin: Beginning | None = None) -> torch.Tensor:
    """Chunks (B,C,A) from noise (B,C,A) in so many steps; the given ones of `begin` are in them as they are.

    With `begin`, gradients must be possible: not in `torch.inference_mode`.
    """
    chunk = noise
    for step in range(steps):
        time = 1 - step / steps
        slope = velocity(chunk, time) if begin is None else _guided(velocity, chunk, time, begin)
        chunk = chunk - slope / steps
    return chunk if begin is None else torch.where(begin.given[..., None], begin.actions, chunk)


def _guided(velocity: Velocity, chunk: torch.Tensor, time: float, begin: Beginning) -> torch.Tensor:
    """The velocity, less the correction towards the beginning."""
    with torch.enable_grad():
        noisy = chunk.detach().requires_grad_()
        slope = velocity(noisy, time)
        actions = noisy - time * slope
        missed = (begin.actions - actions) * begin.given[..., None]
        (back,) = torch.autograd.grad(actions, noisy, grad_outputs=missed.detach())
    return slope.detach() - _guidance(time) * back


def _guidance(time: float) -> float:
    """(1 - s) / (s r^2) with s = 1 - t and r^2 = (1 - s)^2 / (s^2 + (1 - s)^2), at most `MOST_GUIDANCE`."""
    done = 1 - time
    if done == 0:
        return MOST_GUIDANCE
    return min(MOST_GUIDANCE, (done**2 + time**2) / (done * time))
