"""Spatial records made ready for one backbone: pictures at its size, box prompts unified in focal length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.records import SpatialRecords
from vst_vla.vla.fov import BOX_TYPE, FovTarget, smart_resize, unify_record


class QuestionRows:
    """Records by index, pictures at multiples of 28 pixels.

    Args:
        paths: parquet files or folders in VST's record format.
        fov: camera that "bbox_3d" records are brought to.
        max_pixels: budget of every other picture.

    Raises:
        ValueError: as `SpatialRecords`.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], *, fov: FovTarget, max_pixels: int) -> None:
        self.records = SpatialRecords(paths)
        self._fov = fov
        self._plain = FovTarget(max_pixels=max_pixels)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One record; `images` are (H,W,3) uint8 of the final size."""
        record = self.records[index]
        if record["type"] == BOX_TYPE:
            return unify_record(record, target=self._fov)
        return {**record, "images": [fit_picture(image, target=self._plain) for image in record["images"]]}


def fit_picture(image: Array, *, target: FovTarget) -> Array:
    """A picture (H,W,3) at the nearest size in multiples of 28 pixels within the target's budget."""
    height, width = smart_resize(image.shape[0], width=image.shape[1], target=target)
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
