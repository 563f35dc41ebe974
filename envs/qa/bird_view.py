"""A bird's-eye drawing of a layout: footprints of objects with their names, cameras with what they look at, a scale.

VST gives such a drawing to the teacher that writes a reasoning, never to the model that learns from it: with it the
teacher's directions come out right (arXiv 2511.05491). It is drawn from the ground truth, not rendered, and the same
layout gives the same pixels.

Letters in shapes: N points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import ConvexHull

from vst_vla.envs.geometry import apply, box_corners
from vst_vla.envs.qa.layout import Layout
from vst_vla.envs.qa.pairs import faces_somewhere, position
from vst_vla.vla.contracts import Array

SIZE = 640
"""Height and width of a drawing in pixels."""

_MARGIN = 90  # pixels around everything, where names find room
_BARS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # m, lengths that a scale bar may have
_INK, _PAPER, _CAMERA = (25, 25, 25), (255, 255, 255), (190, 30, 30)
_FILLS = ((158, 202, 225), (253, 208, 162), (161, 217, 155), (218, 182, 222), (255, 237, 140), (200, 200, 200))
_RAY = 70  # pixels of the lines that bound what a camera looks at
_FONT_SIZE = 16
_RIM_POINTS = 48


def bird_view(layout: Layout) -> Array:
    """The drawing, (640,640,3) uint8; ahead of the first camera is up, its right is right."""
    footprints = [_footprint(layout, number) for number in layout.numbers]
    eyes = [layout.on_map(position(view)) for view in layout.views]
    sheet = _Sheet(np.concatenate([*footprints, eyes]))
    for place, outline in enumerate(footprints):
        sheet.area(outline, fill=_FILLS[place % len(_FILLS)])
    for place in range(len(layout.views)):
        sheet.camera(eyes[place], rays=_rays(layout, place))
    for number, outline in zip(layout.numbers, footprints, strict=True):
        sheet.label(layout.name(number).removeprefix("the "), outline)
    for place, eye in enumerate(eyes):
        sheet.label(layout.camera_name(place).removeprefix("the "), eye[None])
    sheet.scale_bar()
    return np.asarray(sheet.canvas)


class _Sheet:
    """Paper with a scale: metres of the map to pixels, the middle of all points (N,2) in its middle."""

    def __init__(self, points: Array) -> None:
        self.canvas = Image.new("RGB", (SIZE, SIZE), _PAPER)
        self._draw = ImageDraw.Draw(self.canvas)
        self._font = ImageFont.load_default(size=_FONT_SIZE)
        low, high = points.min(axis=0), points.max(axis=0)
        self._middle = (low + high) / 2
        self._scale = (SIZE - 2 * _MARGIN) / max(float((high - low).max()), 0.1)  # pixels a metre
        self._taken: list[tuple[float, float, float, float]] = []

    def area(self, outline: Array, *, fill: tuple[int, int, int]) -> None:
        """A filled polygon (N,2) m."""
        self._draw.polygon(self._pixels(outline), fill=fill, outline=_INK)

    def camera(self, eye: Array, *, rays: Sequence[Array]) -> None:
        """A dot, and lines from it along directions of the map."""
        ((x, y),) = self._pixels(eye[None])
        for ray in rays:
            self._draw.line((x, y, x + _RAY * ray[0], y - _RAY * ray[1]), fill=_CAMERA, width=2)
        self._draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=_CAMERA, outline=_INK)

    def label(self, text: str, outline: Array) -> None:
        """Words beside a polygon (N,2) m: below, above, right or left of it, or lower, where no other words stand."""
        pixels = np.array(self._pixels(outline))
        (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
        width, height = self._draw.textlength(text, font=self._font), float(_FONT_SIZE + 3)
        middle, rise = (left + right - width) / 2, (top + bottom - height) / 2
        spots = [(middle, bottom + 4), (middle, top - height - 4), (right + 8, rise), (left - width - 8, rise)]
        spots += [(middle, bottom + 4 + step * height) for step in range(1, 8)]
        boxes = [(x, y, x + width, y + height) for x, y in spots]
        box = next((box for box in boxes if self._is_free(box)), boxes[0])
        self._taken.append(box)
        self._draw.text(box[:2], text, font=self._font, fill=_INK, stroke_width=2, stroke_fill=_PAPER)

    def scale_bar(self) -> None:
        """The longest bar that takes at most a quarter of the width, in the lower left corner."""
        metres = max(length for length in _BARS if length * self._scale <= SIZE / 4 or length == _BARS[0])
        y, end = SIZE - 20, 20 + metres * self._scale
        self._draw.line((20, y, end, y), fill=_INK, width=3)
        for x in (20.0, end):
            self._draw.line((x, y - 5, x, y + 5), fill=_INK, width=3)
        self._draw.text((20, y - 26), f"{metres:g} m", font=self._font, fill=_INK)

    def _pixels(self, points: Array) -> list[tuple[float, float]]:
        shifted = (points - self._middle) * self._scale
        return [(SIZE / 2 + float(x), SIZE / 2 - float(y)) for x, y in shifted]

    def _is_free(self, box: tuple[float, float, float, float]) -> bool:
        left, top, right, bottom = box
        inside = left >= 0 and top >= 0 and right <= SIZE and bottom <= SIZE - 50
        return inside and not any(
            left < x2 and x1 < right and top < y2 and y1 < bottom for x1, y1, x2, y2 in self._taken
        )


def _footprint(layout: Layout, number: int) -> Array:
    """Outline (N,2) m of an object on the map: its box's, or a round object's own."""
    scene = layout.scene
    pose, half_extents, axis = scene.poses[number], scene.half_extents[number], scene.round_axes[number]
    points = box_corners(pose, half_extents=half_extents) if axis < 0 else _rims(pose, half_extents, axis)
    flat = layout.on_map(points)
    return np.asarray(flat[ConvexHull(flat).vertices])


def _rims(pose: Array, half_extents: Array, axis: int) -> Array:
    """Points (2N,3) in the world on the two rims of a cylinder that a box bounds, round about one of its axes."""
    turns = np.linspace(0, 2 * np.pi, _RIM_POINTS, endpoint=False)
    rims = np.zeros((2, _RIM_POINTS, 3))
    rims[..., (axis + 1) % 3], rims[..., (axis + 2) % 3] = np.cos(turns), np.sin(turns)
    rims[0, :, axis], rims[1, :, axis] = -1, 1
    return apply(pose, points=rims.reshape(-1, 3) * half_extents)


def _rays(layout: Layout, place: int) -> list[Array]:
    """The bounds of what a camera sees, and its middle, as level unit vectors; none when it faces nowhere."""
    view = layout.views[place]
    if not faces_somewhere(view):
        return []
    x, y = layout.heading(place)[:2]
    middle, half = math.atan2(y, x), math.radians(view.fovs[0] / 2)
    return [np.array([math.cos(middle + turn), math.sin(middle + turn)]) for turn in (-half, 0.0, half)]
