"""In which order rows are met: each once an epoch, and several datasets by weight.

Letters in shapes: n positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from vst_vla.vla.contracts import Array

BLOCK = 1024
"""Positions over which the datasets' shares are kept to the row."""


class Order:
    """An endless walk over the rows of one or more datasets; position -> row depends on the arguments alone.

    Args:
        counts: rows of each dataset; rows are numbered through all of them.
        weights: how often each dataset is met, in relation to the others; None walks through all rows as one dataset.
        seed: of the walk.
        source: tells the walks of one run apart.

    Raises:
        ValueError: another number of weights than datasets, or a weight that is not positive.
    """

    def __init__(
        self, counts: Sequence[int], *, weights: Sequence[float] | None = None, seed: int, source: int = 0
    ) -> None:
        if weights is not None and (len(weights) != len(counts) or min(weights) <= 0):
            raise ValueError(f"weights {list(weights)} for {len(counts)} datasets: give one positive number each")
        self.counts = [sum(counts)] if weights is None else list(counts)
        self._firsts = np.cumsum([0, *self.counts])
        self._shares = np.cumsum(weights) / np.sum(weights) if weights is not None else np.ones(1)
        self._seed, self._source = seed, source
        self._met: list[Array] = [np.zeros(len(self.counts), np.int64)]  # of each dataset before each block

    @property
    def epoch(self) -> int:
        """Positions after which the first dataset has been met whole."""
        return int(np.ceil(self.counts[0] / self._shares[0]))

    def rows(self, start: int, stop: int) -> Array:
        """The rows at positions start to stop - 1, (n,)."""
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        found = np.concatenate([self._block(block) for block in blocks])
        return found[start - blocks[0] * BLOCK :][: stop - start]

    def _block(self, block: int) -> Array:
        while len(self._met) <= block + 1:
            drawn = np.bincount(self._draw(len(self._met) - 1), minlength=len(self.counts))
            self._met.append(self._met[-1] + drawn)
        drawn, rows = self._draw(block), np.empty(BLOCK, np.int64)
        for number, count in enumerate(self.counts):
            mine = np.flatnonzero(drawn == number)
            places = self._met[block][number] + np.arange(len(mine))
            rows[mine] = self._firsts[number] + self._walk(number, count, places)
        return rows

    def _draw(self, block: int) -> Array:
        """Which dataset each position of a block belongs to: its share of the block within a row, in random order."""
        if len(self.counts) == 1:
            return np.zeros(BLOCK, np.int64)
        rng = np.random.default_rng([self._seed, self._source, block, 11])
        levels = (rng.permutation(BLOCK) + rng.random()) / BLOCK
        return np.searchsorted(self._shares[:-1], levels, side="right")

    def _walk(self, number: int, count: int, places: Array) -> Array:
        """Rows of one dataset by how many of it were met before."""
        rows = np.empty(len(places), np.int64)
        for epoch in np.unique(places // count):
            mine = places // count == epoch
            rows[mine] = _permutation(count, self._seed, self._source + 1000 * number, int(epoch))[places[mine] % count]
        return rows


@lru_cache(maxsize=32)
def _permutation(count: int, seed: int, source: int, epoch: int) -> Array:
    """The order in which an epoch walks through a dataset's rows, each once."""
    return np.random.default_rng([seed, source, epoch, 7]).permutation(count)
