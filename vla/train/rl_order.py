"""The order of questions in reinforcement: shuffled anew in every pass, the same when a run is resumed.

TRL's own sampler goes on with one random generator from pass to pass, so that a run resumed in its third pass would
meet the order of the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler


class PassOrder(Sampler[int]):
    """TRL's `RepeatSampler` with an order that depends on its seed and the number of the pass alone.

    Args:
        sampler: TRL's, with a `seed` and a `generator`.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[int]:
        """As TRL's: every question as often as it has replies."""
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)

    def set_epoch(self, epoch: int) -> None:
        """Called by Trainer before every pass."""
        self._sampler.generator.manual_seed(self._sampler.seed + epoch)
