"""Which conversations share a row: packs of at most so many tokens, filled by length.

The endless order of rows is cut into windows, a whole number of them an epoch; the rows of a window are put into as few
packs as they need, longest first, each where it leaves the least room (best fit, decreasing). Every row of a window is
in one pack of it, so none is lost and none comes twice; pack i depends on the lengths, the order's seed and i alone.
Letters in shapes: n rows.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

import numpy as np

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.order import Order

PACKS_A_WINDOW = 64


class Packs:
    """Packs by number.

    Args:
        lengths: (n,) tokens of each row that the order walks over, each at most `budget`.
        order: of the rows.
        budget: tokens of a pack.
        seed: of the packs' order within a window.
    """

    def __init__(self, lengths: Array, *, order: Order, budget: int, seed: int) -> None:
        assert len(lengths)
        assert lengths.max() <= budget
        self.budget, self._lengths, self._order, self._seed = budget, lengths, order, seed
        whole = order.epoch
        self.window = math.ceil(whole / math.ceil(whole * float(lengths.mean()) / (PACKS_A_WINDOW * budget)))
        self._firsts = [0]  # number of each window's first pack
        self._latest: tuple[int, list[list[int]]] = (-1, [])

    def __getitem__(self, number: int) -> list[int]:
        """The rows of a pack, in the order of the walk."""
        while self._firsts[-1] <= number:
            self._count_next()
        window = bisect_right(self._firsts, number) - 1
        return self._packs(window)[number - self._firsts[window]]

    @property
    def num_tokens(self) -> int:
        """Of all rows, each once."""
        return int(self._lengths.sum())

    @property
    def fullness(self) -> float:
        """Tokens in a pack over what it could hold, in the first window."""
        packs = self._packs(0)
        tokens = sum(int(self._lengths[row]) for pack in packs for row in pack)
        return tokens / (len(packs) * self.budget)

    def count(self, positions: int) -> int:
        """How many packs hold the first `positions` rows of the walk; the last window counts whole."""
        windows = -(-positions // self.window)
        while len(self._firsts) <= windows:
            self._count_next()
        return self._firsts[windows]

    def _count_next(self) -> None:
        self._firsts.append(self._firsts[-1] + len(self._packs(len(self._firsts) - 1)))

    def _packs(self, window: int) -> list[list[int]]:
        if self._latest[0] != window:
            rows = self._order.rows(window * self.window, (window + 1) * self.window)
            packs = fill(self._lengths[rows].tolist(), budget=self.budget)
            turns = np.random.default_rng([self._seed, window, 13]).permutation(len(packs))
            self._latest = (window, [[int(rows[place]) for place in packs[turn]] for turn in turns])
        return self._latest[1]


def fill(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Places of `lengths` put into packs of at most `budget`: best fit, decreasing.

    Source: D. S. Johnson, "Near-optimal bin packing algorithms" (1973): at most 11/9 of the fewest packs possible.
    """
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, pack), sorted
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        fit = bisect_left(room, (lengths[place], -1))
        left, pack = room.pop(fit) if fit < len(room) else (budget, len(packs))
        if pack == len(packs):
            packs.append([])
        packs[pack].append(place)
        insort(room, (left - lengths[place], pack))
    return [sorted(pack) for pack in packs]
