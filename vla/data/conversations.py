"""Several sets of conversations as one numbered list, rows that do not fit left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.questions import QuestionRows


class Conversations:
    """The rows of several sets, one set after another.

    Args:
        parts: the sets.
        kept: which rows of each; all when not given.

    Attributes:
        counts: rows of each set.
    """

    def __init__(self, parts: Sequence[QuestionRows], *, kept: Sequence[Array] | None = None) -> None:
        self.parts = list(parts)
        self._kept = [np.arange(len(part)) for part in parts] if kept is None else list(kept)
        self.counts = [len(rows) for rows in self._kept]
        self._firsts = np.cumsum([0, *self.counts])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One record, see `QuestionRows`."""
        part, row = self._place(index)
        return part[row]

    def get(self, index: int) -> dict[str, Any] | None:
        """One record, or None when its row turns out to be unusable."""
        part, row = self._place(index)
        return part.get(row)

    def _place(self, index: int) -> tuple[QuestionRows, int]:
        part = int(np.searchsorted(self._firsts, index, side="right")) - 1
        return self.parts[part], int(self._kept[part][index - self._firsts[part]])
