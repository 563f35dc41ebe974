"""Labels of what the cells of a conversation's picture show, as `vst-vla qa` stores them in `meta_info`.

    cells     with a record's first picture: {side: G, names: [...], numbers: [class, depth, x, y, z, ...] (G*G*5)}

Class numbers mean the record's own names; a table gives every name of a run one number. Lengths are in mm, in the
camera's OpenCV axes. Letters: G cells of a picture's side.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vst_vla.vla.contracts import CELL_NUMBERS, Array
from vst_vla.vla.data.record_files import list_files

KEY = "cells"
HOW = "make some with `vst-vla qa families=[fields]`, or set recipe.readout_weight and recipe.alignment_weight to 0"


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """What the labels of a run's conversations have in common.

    Attributes:
        classes: what the class numbers mean.
        side: G.
        tokens: visual tokens of a labelled picture's side.
    """

    classes: tuple[str, ...]
    side: int
    tokens: int

    @property
    def each(self) -> int:
        """Cells of a visual token's side."""
        return self.side // self.tokens

    def read(self, record: Mapping[str, Any]) -> Array | None:
        """A record's labels (G,G,5) int16 in the table's classes, or None.

        Raises:
            ValueError: labels of another form, naming the record.
        """
        cells = _cells(record["meta_info"])
        if cells is None:
            return None
        numbers = np.array(cells["numbers"], dtype=np.int16)
        if cells["side"] != self.side or numbers.size != self.side**2 * len(CELL_NUMBERS):
            raise ValueError(
                f"record '{record['id']}' has {numbers.size} numbers for {cells['side']} cells a side, expected "
                f"{self.side**2 * len(CELL_NUMBERS)} for {self.side}: make the questions again"
            )
        labels = numbers.reshape(self.side, self.side, -1)
        table = np.array([self.classes.index(name) for name in cells["names"]], dtype=np.int16)
        labels[..., 0] = table[labels[..., 0]]
        return labels


def scan_labels(paths: Sequence[str | Path], *, picture_tokens: int) -> LabelTable:
    """The table of all labels in parquet files and folders.

    Args:
        paths: of the run's conversations.
        picture_tokens: visual tokens of a picture's side, for the labelled ones.

    Raises:
        ValueError: no labels, or cells that tokens cannot share evenly.
    """
    names: dict[str, None] = {}
    sides: set[int] = set()
    for path in list_files(paths):
        for text in pq.read_table(path, columns=["meta_info"])["meta_info"].to_pylist():
            cells = _cells(json.loads(text)) if text and f'"{KEY}"' in text else None
            if cells is not None:
                names |= dict.fromkeys(cells["names"])
                sides.add(int(cells["side"]))
    if not sides:
        raise ValueError(f"no picture in {', '.join(map(str, paths))} has labels of what it shows: {HOW}")
    side = max(sides)
    if side % picture_tokens:
        raise ValueError(
            f"labels of {side} cells a side cannot be shared by {picture_tokens} visual tokens: set recipe.max_pixels "
            f"so that a picture's side is 28 px times a divisor of {side}"
        )
    return LabelTable(classes=tuple(names), side=side, tokens=picture_tokens)


def _cells(meta_info: Any) -> Mapping[str, Any] | None:
    first = meta_info[0] if meta_info else None
    return first.get(KEY) if isinstance(first, dict) else None
