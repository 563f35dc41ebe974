"""Robot samples and spatial questions mixed in every batch, at a set ratio.

Item i of the dataset is the i-th batch: of one step, or of a process's part of one. What it holds depends on (seed, i)
alone: a run that is resumed at step i, or loaded by another number of workers, sees the same rows with the same
augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.data.conversations import Conversations
from vst_vla.vla.data.order import Order
from vst_vla.vla.data.packs import Packs
from vst_vla.vla.transforms import Transform, apply

ROBOT, SPATIAL = "robot", "spatial"
MOST_TOLD = 8
"""Rows of a batch that a message names."""


class Rows(Protocol):
    """Anything with a length and samples by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """One kind of data in the mixture.

    Attributes:
        name: of the source.
        rows: the data.
        order: how the rows are walked over.
        packs: which of them share a row; None for a row each.
        per_step: how many rows, or packs of them, an item takes.
    """

    name: str
    rows: Rows
    order: Order
    packs: Packs | None = None
    per_step: int = 0


def split_rows(batch_size: int, *, spatial_ratio: float) -> tuple[int, int]:
    """How many robot and spatial rows a batch of `batch_size` holds.

    Raises:
        ValueError: for a ratio outside [0, 1), or one that asks for spatial rows but leaves none.
    """
    if not 0 <= spatial_ratio < 1:
        raise ValueError(f"spatial_ratio {spatial_ratio} is outside [0, 1): 0.25 means a quarter of the rows")
    spatial = round(batch_size * spatial_ratio)
    if spatial_ratio and not spatial:
        raise ValueError(f"spatial_ratio {spatial_ratio} of {batch_size} rows is none: let a process take more rows")
    return batch_size - spatial, spatial


class StepBatches(torch.utils.data.Dataset[dict[str, Batch]]):
    """The batches of a training run, keyed by source name.

    Args:
        sources: what is mixed; each must hold at least one row.
        collator: builds the batches.
        transforms: run on robot samples, augmenting.
        num_items: batches of the run, over all its processes.
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
        num_items: int,
        seed: int,
    ) -> None:
        self.sources = [source for source in sources if source.per_step > 0]
        if not self.sources:
            raise ValueError("nothing to train on: give robot data, spatial data, or both")
        for source in self.sources:
            if len(source.rows) == 0:
                raise ValueError(f"the {source.name} data is empty: make some with `vst-vla demos` or `vst-vla qa`")
        self.collator, self.transforms = collator, list(transforms)
        self.num_items, self.seed = num_items, seed

    def __len__(self) -> int:
        return self.num_items

    def __getitem__(self, item: int) -> dict[str, Batch]:
        """One item: {source name: batch}."""
        return {source.name: self._batch(source, number, item) for number, source in enumerate(self.sources)}

    def told(self, item: int) -> str:
        """What an item holds, in words: the names of its conversations, the numbers of its robot rows."""
        return "; ".join(_told(source, _picks(source, item)) for source in self.sources)

    def _batch(self, source: Source, number: int, item: int) -> Batch:
        picks = _picks(source, item)
        if source.packs is not None:
            assert isinstance(source.rows, Conversations)
            records = [source.rows.get(row) for row in picks]
            return self.collator.pack([record for record in records if record is not None])
        rows = [source.rows[row] for row in picks]
        if source.name != ROBOT:
            return self.collator.questions(rows)
        rng = np.random.default_rng([self.seed, number, item])
        return self.collator.robot([apply(self.transforms, row, rng=rng) for row in rows])


def _picks(source: Source, item: int) -> list[int]:
    """The numbers of the rows that an item takes."""
    start, stop = item * source.per_step, (item + 1) * source.per_step
    if source.packs is not None:
        return [row for pack in range(start, stop) for row in source.packs[pack]]
    return [int(row) for row in source.order.rows(start, stop)]


def _told(source: Source, picks: Sequence[int]) -> str:
    named = source.name != ROBOT
    words = [str(source.rows[row]["id"]) if named else str(row) for row in picks[:MOST_TOLD]]
    more = f" and {len(picks) - MOST_TOLD} more" if len(picks) > MOST_TOLD else ""
    return f"{source.name} {'records' if named else 'rows'} {', '.join(words)}{more}"
