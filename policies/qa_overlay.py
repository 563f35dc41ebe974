"""What a question's text says about its pictures, drawn over them as SVG: boxes, rectangles, points.

Everything is read from the record alone, so a box that is drawn beside its object is wrong in the record too.
Letters in shapes: H/W pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import cycle
from typing import Any

import numpy as np

from vst_vla.envs.geometry import box_corners, box_from_numbers
from vst_vla.vla.contracts import Array
from vst_vla.vla.data.boxes import parse_boxes
from vst_vla.vla.data.stored import StoredRow
from vst_vla.vla.fov import BOX_TYPE, focal_in_prompt

COLOURS = ("#ffd400", "#4fd1ff", "#ff7ad1", "#8dff6a", "#ff9d4d", "#c9a6ff")
LETTER_WIDTH = 0.62  # of its height, on average
NEAR = 0.02  # m before the camera; edges are cut there
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))

_RECTANGLE = re.compile(r'"bbox_2d"\s*:\s*(\[[^\]]*\])')
_POINT = re.compile(r'"point_2d"\s*:\s*(\[[^\]]*\])')
_CENTRE = re.compile(r"c_x=(\d+(?:\.\d+)?) and c_y=(\d+(?:\.\d+)?)")


def overlays(row: StoredRow) -> list[str]:
    """SVG to lay over each of the row's pictures (a video's frames), "" for those of which the text says nothing.

    3-D boxes are projected with the lens that the prompt states, into the first picture, whose camera's frame they are
    in. Rectangles and points of the text belong to the first picture too.
    """
    shapes: list[list[str]] = [[] for _ in row.record["images"]]
    if shapes:
        shapes[0] += [*_boxes(row), *_rectangles(row), *_points(row)]
    for _, line, column, place in row.meta.get("marks", []):  # their names are drawn already
        if place < len(shapes):
            shapes[place].append(_ring(column + 0.5, line + 0.5, "", row.record["images"][place]))
    return [_svg(inner, row.record["images"][place]) for place, inner in enumerate(shapes)]


def _svg(shapes: Sequence[str], picture: Array) -> str:
    height, width = picture.shape[:2]
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(shapes)}</svg>' if shapes else ""


def _boxes(row: StoredRow) -> Iterator[str]:
    if BOX_TYPE not in row.record["type"]:
        return
    turns = row.raw["conversations"]
    height, width = row.record["images"][0].shape[:2]
    focal = focal_in_prompt(turns[0]["value"], width=width)
    if focal is None:
        return
    stated = _CENTRE.search(turns[0]["value"])
    centre = np.array([float(v) for v in stated.groups()] if stated else [width / 2, height / 2])
    for (label, numbers), colour in zip(parse_boxes(turns[-1]["value"]), cycle(COLOURS), strict=False):
        pose, half_extents = box_from_numbers(np.array(numbers))
        lines = list(_edges(box_corners(pose, half_extents=half_extents), focal, centre))
        path = "".join(f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}" for a, b in lines)
        yield _outlined(f'<path d="{path}"', colour)
        if lines:
            place = np.concatenate(lines).reshape(-1, 2).clip(0, (width, height)).min(axis=0)
            yield _text(place, label, colour, row.record["images"][0])


def _edges(corners: Array, focal: float, centre: Array) -> Iterator[tuple[Array, Array]]:
    """The box's edges in pixels, as far as they lie before the camera."""
    for first, second in EDGES:
        a, b = corners[first], corners[second]
        if a[2] < b[2]:
            a, b = b, a
        if a[2] <= NEAR:
            continue
        if b[2] < NEAR:
            b = a + (b - a) * (a[2] - NEAR) / (a[2] - b[2])
        yield a[:2] / a[2] * focal + centre, b[:2] / b[2] * focal + centre


def _rectangles(row: StoredRow) -> Iterator[str]:
    found = _numbers(_RECTANGLE, row) + _about(row, "boxes")
    for (x1, y1, x2, y2), colour in zip(_once(found, 4), cycle(COLOURS), strict=False):
        yield _outlined(f'<rect x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}"', colour)


def _points(row: StoredRow) -> Iterator[str]:
    found = _once(_numbers(_POINT, row) + _about(row, "points"), 2)
    for number, (x, y) in enumerate(found, start=1):
        yield _ring(x, y, str(number) if len(found) > 1 else "", row.record["images"][0])


def _numbers(form: re.Pattern[str], row: StoredRow) -> list[Any]:
    texts = [turn["value"] for turn in row.raw["conversations"]]
    return [json.loads(found) for text in texts for found in form.findall(text)]


def _about(row: StoredRow, key: str) -> list[Any]:
    found = row.meta.get("about", {}).get(key, [])
    return found if isinstance(found, list) else []


def _once(found: Sequence[Any], length: int) -> list[tuple[float, ...]]:
    """Each list of `length` numbers once, in order."""
    return list(dict.fromkeys(tuple(map(float, v)) for v in found if isinstance(v, list) and len(v) == length))


def _ring(x: float, y: float, name: str, picture: Array) -> str:
    radius = picture.shape[0] / 36
    label = _text(np.array([x + radius, y - radius]), name, COLOURS[1], picture) if name else ""
    return _outlined(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:.1f}"', COLOURS[1]) + label


def _outlined(shape: str, colour: str) -> str:
    """A line that shows on any ground: dark below, coloured above."""
    return f'{shape} class="under"/>{shape} stroke="{colour}"/>'


def _text(place: Array, label: str, colour: str, picture: Array) -> str:
    """A label above a place, moved to the left as far as it would leave the picture."""
    height, width = picture.shape[:2]
    size = height / 20
    x = max(min(place[0], width - LETTER_WIDTH * size * len(label)), 0)
    y = min(max(place[1] - 2, size), height - 2)
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" fill="{colour}">{escape(label)}</text>'
