"""Labels of what the cells of a dataset's pictures show, as `vst-vla demos geometry=true` stores them.

`contracts.CELL_NUMBERS` has the format. Letters: n frames, G cells of a picture's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vst_vla.vla.contracts import CELL_NUMBERS, Array, geometry_key
from vst_vla.vla.data.frames import Frames
from vst_vla.vla.data.layouts import CONVENTIONS, Layout
from vst_vla.vla.data.pictures import ParquetPictures

HOW = "record it with `vst-vla demos geometry=true`, or leave recipe.readout_weight and recipe.alignment_weight at 0"


class ParquetCells(ParquetPictures):
    """Labels (G,G,5) in a column of nested lists."""

    dtype: np.dtype[Any] = np.dtype(np.int16)

    def _open(self, stored: pa.Scalar, position: int) -> Array:
        labels = np.array(stored.as_py(), dtype=self.dtype)
        if labels.shape != self.shape:
            name = self._name(position)
            raise ValueError(
                f"{name} has labels of shape {labels.shape}, expected {self.shape}: make the dataset again"
            )
        return labels


def read_cells(layout: Layout, frames: Frames, *, camera: str) -> ParquetCells:
    """The labels of a camera's pictures.

    Args:
        layout: of the dataset.
        frames: that are read.
        camera: the dataset's own name of the pictures.

    Raises:
        ValueError: the dataset has none, or of another form.
    """
    column = geometry_key(camera)
    if column not in layout.features:
        raise ValueError(f"{layout.folder}: no labels '{column}' of what the pictures show: {HOW}")
    high, wide, numbers = _shape(layout, column)
    return ParquetCells(frames.files, column=column, file=frames.file, row=frames.row, shape=(high, wide, numbers))


def read_classes(layout: Layout) -> tuple[str, ...]:
    """What a dataset's class numbers mean. Raises ValueError where it does not say."""
    classes = layout.conventions.get("geometry", {}).get("classes")
    if not classes:
        raise ValueError(f"{layout.folder}: {CONVENTIONS} names no classes of the labels 'geometry.*': {HOW}")
    return tuple(classes)


def join_classes(each: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], list[Array]]:
    """The classes of several datasets in one list, and for each dataset its numbers -> the list's, int16."""
    joined = tuple(dict.fromkeys(name for classes in each for name in classes))
    return joined, [np.array([joined.index(name) for name in classes], dtype=np.int16) for classes in each]


def _shape(layout: Layout, column: str) -> tuple[int, int, int]:
    feature = layout.features[column]
    shape = tuple(feature["shape"])
    if feature["dtype"] != "int16" or len(shape) != 3 or shape[2] != len(CELL_NUMBERS):
        expected = f"int16 (rows, columns, {len(CELL_NUMBERS)})"
        raise ValueError(f"{layout.folder}: {column} is {feature['dtype']} {shape}, expected {expected}: {HOW}")
    return int(shape[0]), int(shape[1]), int(shape[2])
