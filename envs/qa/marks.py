"""Points drawn on pictures: coloured ones, and ones with a letter or a number; and the pixels fit to carry them.

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vst_vla.envs.qa.base import Mark
from vst_vla.vla.contracts import Array

COLOURS = {
    "red": (255, 40, 40),
    "green": (40, 220, 60),
    "blue": (60, 110, 255),
    "yellow": (255, 225, 40),
    "magenta": (240, 60, 240),
}
LABEL_COLOURS = {
    "A1": (255, 255, 255),
    "B2": (40, 230, 230),
    "C3": (255, 140, 20),
    "D4": (90, 0, 130),
    "E5": (0, 0, 0),
    "F6": (140, 90, 40),
}
"""Of a point with a letter or a number: on a small picture it says which one that is where labels are hard to read."""
LEAST_LETTER_PX = 14
"""Of a letter on a small picture, which tiny networks see smaller still."""
_LETTER_COLOUR = (255, 255, 255)
_MAX_STEP = 0.015  # m of depth between neighbouring pixels of a smooth surface


def covers(spot: tuple[int, int], other: tuple[int, int], *, size: int) -> bool:
    """Whether two points (row, column) on a picture `size` pixels high would be drawn over each other."""
    return float(np.hypot(spot[0] - other[0], spot[1] - other[1])) <= 2 * _radius(size) + 2


def draw_marks(image: Array, *, marks: Sequence[Mark]) -> Array:
    """A copy of the picture (H,W,3) uint8 with points on it: coloured ones by a colour's name, others labelled."""
    canvas = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(canvas)
    radius = _radius(image.shape[0])
    for name, row, column, _ in marks:
        colour = _colour(name)
        bounds = (column - radius, row - radius, column + radius, row + radius)
        draw.ellipse(bounds, fill=colour, outline=(0, 0, 0))
        if name not in COLOURS:
            _write(draw, name, row=row, column=column, size=image.shape[0], radius=radius)
    return np.asarray(canvas)


def steady_pixels(mask: Array, *, depth: Array) -> Array:
    """The pixels (H,W) bool of a mask whose eight neighbours lie in it too, at nearly the same depth."""
    inside, near, far = mask.copy(), depth.copy(), depth.copy()
    for axis in (0, 1):
        shifts = [1, -1]
        inside = np.logical_and.reduce([inside, *(np.roll(inside, s, axis) for s in shifts)])
        near = np.minimum.reduce([near, *(np.roll(near, s, axis) for s in shifts)])
        far = np.maximum.reduce([far, *(np.roll(far, s, axis) for s in shifts)])
    inside[[0, -1]] = False
    inside[:, [0, -1]] = False
    return inside & (far - near < 2 * _MAX_STEP)


def _colour(name: str) -> tuple[int, int, int]:
    """Of a point by a colour's name, or by its label; white for any other name."""
    labelled = (colour for labels, colour in LABEL_COLOURS.items() if name in labels)
    return COLOURS[name] if name in COLOURS else next(labelled, _LETTER_COLOUR)


def _radius(size: int) -> int:
    return max(3, round(size / 64))


def _write(draw: ImageDraw.ImageDraw, letter: str, *, row: int, column: int, size: int, radius: int) -> None:
    """The letter beside its point, on the side where there is room, outlined so that it reads on any ground."""
    font = ImageFont.load_default(size=max(LEAST_LETTER_PX, size // 14))
    _, _, width, height = draw.textbbox((0, 0), letter, font=font)
    x = column + radius + 1 if column + radius + 2 + width < size else column - radius - 1 - width
    y = min(max(row - height // 2, 0), size - height - 1)
    draw.text((x, y), letter, font=font, fill=_LETTER_COLOUR, stroke_width=1, stroke_fill=(0, 0, 0))
