"""Spatial records made ready for one backbone: pictures at its size, box prompts unified in focal length.

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vst_vla.vla.data.records import SpatialRecords
from vst_vla.vla.fov import BOX_TYPE, FovTarget, resize, smart_resize, unify_camera, unify_turns

PIXELS_A_TOKEN = 28 * 28
PICTURES_SHARE = 0.8
"""Of a conversation's tokens, at most, for its pictures when there are several; VST's rule."""
LEAST_PIXELS = round(1.05 * 128 * PIXELS_A_TOKEN)
"""What each of several pictures may have in any case; VST's rule, from qwen-vl-utils' least video frame."""

Size = tuple[int, int]


class QuestionRows:
    """Records by index, pictures at multiples of 28 pixels.

    Several pictures of one record share `PICTURES_SHARE` of `max_tokens` (source: VST's loader,
    https://github.com/Yangr116/VST).

    Args:
        paths: parquet files or folders in VST's record format.
        fov: camera that "bbox_3d" records are brought to.
        max_pixels: budget of every other picture.
        max_tokens: of the longest conversation.
        verify: decode every row at opening, see `SpatialRecords`.

    Raises:
        ValueError: as `SpatialRecords`.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        fov: FovTarget,
        max_pixels: int,
        max_tokens: int = 4096,
        verify: bool = True,
    ) -> None:
        self.records = SpatialRecords(paths, verify=verify)
        self._fov = fov
        self._plain = FovTarget(max_pixels=max_pixels)
        self._max_tokens = max_tokens

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One record; `images` are (H,W,3) uint8 of the final size."""
        return self._ready(self.records[index])

    def get(self, index: int) -> dict[str, Any] | None:
        """The record at `index`, or None when that row cannot be used."""
        record = self.records.get(index)
        return None if record is None else self._ready(record)

    def outline(self, index: int) -> dict[str, Any] | None:
        """As `get`, with (H, W) for each of `images`: enough to count tokens, and no picture is decoded."""
        record = self.records.get(index, pixels=False)
        if record is None:
            return None
        turns, sizes = self._plan(record, record["images"])
        return {**record, "conversations": turns, "images": sizes}

    def settings(self) -> dict[str, Any]:
        """Everything but the files that a record's length in tokens depends on, as plain values."""
        return {"fov": repr(self._fov), "plain": repr(self._plain), "max_tokens": self._max_tokens}

    def _ready(self, record: dict[str, Any]) -> dict[str, Any]:
        turns, sizes = self._plan(record, [image.shape[:2] for image in record["images"]])
        images = [resize(image, size=size) for image, size in zip(record["images"], sizes, strict=True)]
        return {**record, "conversations": turns, "images": images}

    def _plan(self, record: dict[str, Any], sizes: Sequence[Size]) -> tuple[list[dict[str, Any]], list[Size]]:
        """The record's final text and its pictures' final sizes."""
        turns = record["conversations"]
        if record["type"] == BOX_TYPE:
            unified = unify_camera(record, sizes=sizes, target=self._fov)
            if unified is not None:
                size = unified.resized_height, unified.resized_width
                return unify_turns(turns, unified=unified), [size] * len(sizes)
        return turns, [smart_resize(height, width=width, target=self._target(len(sizes))) for height, width in sizes]

    def _target(self, num_images: int) -> FovTarget:
        """The budget of each of a record's pictures."""
        if num_images < 2:
            return self._plain
        share = int(PICTURES_SHARE * self._max_tokens * PIXELS_A_TOKEN) // num_images
        return replace(self._plain, max_pixels=min(self._plain.max_pixels, max(share, LEAST_PIXELS)))
