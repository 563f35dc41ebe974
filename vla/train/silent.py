"""Replies that teach nothing: all of a group are worth the same, so none is better than the others.

Letters in shapes: B replies, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch

SILENCE = 1e-3
"""Advantage, in standard deviations of its group, below which it is rounding."""


def without_silent(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with the tokens of replies without an advantage masked.

    Their policy gradient is zero anyhow; masked, they no longer dilute the mean over tokens, nor pull towards the
    starting weights when the divergence is weighted. VST filters whole groups by their mean reward to the same end.

    Args:
        batch: `advantages` (B,) and `completion_mask` (B,T), among others.
    """
    speaks = batch["advantages"].abs() > SILENCE
    mask: torch.Tensor = batch["completion_mask"]
    return {**batch, "completion_mask": mask * speaks[:, None].to(mask.dtype)}
