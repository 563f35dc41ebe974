"""One question of a benchmark, and its pictures as they are stored.

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.records import decode_picture
from vst_vla.vla.data.videos import read_frames


@dataclass(frozen=True, kw_only=True)
class Video:
    """A video that is shown as `num_frames` evenly spaced frames."""

    path: Path
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A picture with numbered rectangles (x1, y1, x2, y2 in px) drawn on it."""

    picture: bytes | Path
    boxes: tuple[tuple[float, ...], ...]


Picture = bytes | Path | Video | Marked
"""Encoded pictures and where they are; nothing is decoded before it is shown."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question with its right answer.

    `group` names what is drawn together when an interval is estimated: items about one scene, or the same question in
    several orders. `about` says in plain values what else the scorer needs.
    """

    id: str
    category: str
    prompt: str
    truth: str
    pictures: tuple[Picture, ...] = ()
    group: str = ""  # the item by itself when empty
    about: Mapping[str, Any] = field(default_factory=dict)


def open_pictures(item: Item) -> list[Array]:
    """The item's pictures, (H,W,3) uint8 each, a video as its frames.

    Raises:
        ValueError: naming the item, for a file that is missing or cannot be decoded.
    """
    return [array for picture in item.pictures for array in _open(picture, item.id)]


def stored(value: Any, *, name: str) -> bytes:
    """Encoded bytes of a picture as tables hold it: bytes, {bytes, path}, or base64 text.

    Raises:
        ValueError: anything else, by the item's name.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value:
        try:
            return base64.b64decode(value.rpartition(",")[2], validate=True)
        except binascii.Error as error:
            raise ValueError(f"item '{name}' has a picture that is no base64: load the file again") from error
    raise ValueError(f"item '{name}' has no picture, expected bytes or base64: load the file again")


def _open(picture: Picture, name: str) -> list[Array]:
    if isinstance(picture, Video):
        try:
            return _film(_bytes(picture.path, name), picture.num_frames)
        except ValueError as error:
            raise ValueError(f"item '{name}' has {error}: '{picture.path}'") from error
    if isinstance(picture, Marked):
        return [_draw(_open(picture.picture, name)[0], picture.boxes)]
    content = picture if isinstance(picture, bytes) else _bytes(picture, name)
    return [decode_picture({"bytes": content}, name=name)]


@lru_cache(maxsize=1)
def _film(content: bytes, num_frames: int) -> list[Array]:
    """A film's frames; the next question is often about the same one."""
    return read_frames(content, max_frames=num_frames)


def _bytes(path: Path, name: str) -> bytes:
    if not path.is_file():
        raise ValueError(f"item '{name}' needs '{path}', which is missing: unpack the benchmark's pictures there")
    return path.read_bytes()


def _draw(picture: Array, boxes: tuple[tuple[float, ...], ...]) -> Array:
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        pen.rectangle((x1, y1, x2, y2), outline=(255, 0, 0), width=2)
        pen.text((x1 + 4, y1 + 2), f"Region [{number}]", fill=(255, 0, 0))
    return np.asarray(image)
