"""Robot samples and spatial questions mixed in every optimiser step, at a set ratio.

Item i of the dataset is the whole batch of step i. What it holds depends on (seed, i) alone: a run that is resumed at
step i, or loaded by another number of workers, sees the same rows with the same augmentation.
Letters: B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.transforms import Transform, apply

ROBOT, SPATIAL = "robot", "spatial"


class Rows(Protocol):
    """Anything with a length and samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """One kind of data in the mixture: its rows, and how many of them a step takes."""

    name: str
    rows: Rows
    per_step: int


def split_rows(batch_size: int, *, spatial_ratio: float) -> tuple[int, int]:
    """How many robot and spatial rows a batch of `batch_size` holds.

    Raises:
        ValueError: for a ratio outside [0, 1).
    """
    if not 0 <= spatial_ratio < 1:
        raise ValueError(f"spatial_ratio {spatial_ratio} is outside [0, 1): 0.25 means a quarter of the rows")
    spatial = round(batch_size * spatial_ratio)
    return batch_size - spatial, spatial


class StepBatches(torch.utils.data.Dataset[dict[str, Batch]]):
    """The batches of a training run, one a step, keyed by source name.

    Args:
        sources: what is mixed; each must hold at least one row.
        collator: builds the batches.
        transforms: run on robot samples, augmenting.
        num_steps: length of the run.
        seed: of order and augmentation.

    Raises:
        ValueError: for an empty source or no source at all.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        collator: Collator,
        transforms: Sequence[Transform] = (),
        num_steps: int,
        seed: int,
    ) -> None:
        self.sources = [source for source in sources if source.per_step > 0]
        if not self.sources:
            raise ValueError("nothing to train on: give robot data, spatial data, or both")
        for source in self.sources:
            if len(source.rows) == 0:
                raise ValueError(f"the {source.name} data is empty: make some with `vst-vla demos` or `vst-vla qa`")
        self.collator, self.transforms = collator, list(transforms)
        self.num_steps, self.seed = num_steps, seed

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, step: int) -> dict[str, Batch]:
        """The batch of one step: {source name: batch}."""
        return {source.name: self._batch(source, number, step) for number, source in enumerate(self.sources)}

    def _batch(self, source: Source, number: int, step: int) -> Batch:
        count = len(source.rows)
        places = step * source.per_step + np.arange(source.per_step)
        picks = [int(_order(count, self.seed, number, int(p // count))[p % count]) for p in places]
        rows = [source.rows[pick] for pick in picks]
        if source.name != ROBOT:
            return self.collator.questions(rows)
        rng = np.random.default_rng([self.seed, number, step])
        return self.collator.robot([apply(self.transforms, row, rng=rng) for row in rows])


@lru_cache(maxsize=8)
def _order(count: int, seed: int, source: int, epoch: int) -> Array:
    """The order in which an epoch walks through a source's rows, each once."""
    return np.random.default_rng([seed, source, epoch, 7]).permutation(count)
