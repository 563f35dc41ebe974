"""Labels of what the cells of a conversation's pictures show, as `vst-vla qa geometry=true` stores them in `meta_info`.

    cells     in every picture's entry: {side: G, names: [...], numbers: [class, depth, x, y, z, ...] (G*G*5),
              pose: (3*4)}

Class numbers mean the entry's own names; a table gives every name of a run one number. Lengths are in mm, in the
camera's OpenCV axes; the pose is that of these axes in the robot's, in m. Letters: G cells of a picture's side, h/w
visual tokens of its sides, V = h*w of them, c cells of a token's side.
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
POSE_NUMBERS = 12
EACH = 2
"""c: what a token is asked about is finer than it is."""
HOW = (
    "make some with `vst-vla qa geometry=true`, or set recipe.readout_weight, recipe.alignment_weight, "
    "recipe.pointing_weight and recipe.gaze_weight to 0"
)


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """What the class numbers of a run's conversations mean."""

    classes: tuple[str, ...]

    def read(self, record: Mapping[str, Any]) -> list[Array] | None:
        """The labels (G,G,5) int16 of each of a record's pictures, in the table's classes; None without.

        Raises:
            ValueError: labels of another form, naming the record.
        """
        entries = [entry.get(KEY) for entry in record["meta_info"] if isinstance(entry, dict)]
        known = [entry for entry in entries if entry is not None]
        if not known or not len(known) == len(entries) == len(record["images"]):
            return None
        return [self._read(entry, str(record["id"])) for entry in known]

    def poses(self, record: Mapping[str, Any]) -> Array:
        """Where the camera of each of a labelled record's pictures stands, (N,3,4) float32.

        Raises:
            ValueError: labels without poses, naming the record.
        """
        entries = [entry[KEY].get("pose", ()) for entry in record["meta_info"]]
        for entry in entries:
            if len(entry) != POSE_NUMBERS:
                raise ValueError(
                    f"record '{record['id']}' has {len(entry)} numbers for a camera's pose, expected {POSE_NUMBERS}: "
                    "make the questions again"
                )
        return np.array(entries, dtype=np.float32).reshape(-1, 3, 4)

    def _read(self, entry: Mapping[str, Any], name: str) -> Array:
        numbers, side = np.array(entry["numbers"], dtype=np.int16), int(entry["side"])
        if numbers.size != side**2 * len(CELL_NUMBERS):
            raise ValueError(
                f"record '{name}' has {numbers.size} numbers for {side} cells a side, expected "
                f"{side**2 * len(CELL_NUMBERS)}: make the questions again"
            )
        labels = numbers.reshape(side, side, -1)
        table = np.array([self.classes.index(known) for known in entry["names"]], dtype=np.int16)
        labels[..., 0] = table[labels[..., 0]]
        return labels


def scan_labels(paths: Sequence[str | Path]) -> LabelTable:
    """The table of all labels in parquet files and folders. Raises ValueError when there are none."""
    names: dict[str, None] = {}
    for path in list_files(paths):
        for text in pq.read_table(path, columns=["meta_info"])["meta_info"].to_pylist():
            for entry in json.loads(text) if text and f'"{KEY}"' in text else ():
                names |= dict.fromkeys(entry.get(KEY, {}).get("names", ()))
    if not names:
        raise ValueError(f"no picture in {', '.join(map(str, paths))} has labels of what it shows: {HOW}")
    return LabelTable(classes=tuple(names))


def token_labels(labels: Array, *, grid: tuple[int, int]) -> Array:
    """What each of a picture's visual tokens is asked about, (V,c*c,5): the labels (G,G,5) nearest to its cells.

    Args:
        labels: of the picture.
        grid: h and w.
    """
    rows, columns = (_nearest(len(labels), count=EACH * side) for side in grid)
    cells = labels[rows[:, None], columns]  # (h*c,w*c,5)
    blocks = cells.reshape(grid[0], EACH, grid[1], EACH, -1).swapaxes(1, 2)
    return np.ascontiguousarray(blocks.reshape(grid[0] * grid[1], EACH**2, -1))


def _nearest(side: int, *, count: int) -> Array:
    return ((np.arange(count) + 0.5) * side / count).astype(int)
