"""Points, boxes and paths in pixels, as answers give them.

The forms are those that Qwen2.5-VL answers in (arXiv 2502.13923): a fenced JSON list, one object a line, each with a
"point_2d" [x, y] or a "bbox_2d" [x1, y1, x2, y2] and a "label"; a path is a bare list of [x, y]. Coordinates are whole
pixels of the picture as the record holds it: x is the column, y the row, both from 0 at the top left; a box's x2 and y2
are the first column and row after it. Questions state the picture's size, since a backbone that resizes pictures to
multiples of 28 sees other pixels.

Letters in shapes: H/W pixels, N points.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from vst_vla.envs.geometry import apply, project
from vst_vla.envs.qa.view import Seen, View
from vst_vla.vla.contracts import Array

Pixel = tuple[int, int]
"""Column and row."""

_DEEP = 0.8


def size_text(view: View) -> str:
    """States the picture's size, without which pixels mean nothing to a backbone that resizes it."""
    return f"The picture is {view.width}x{view.height} pixels."


def point_text(point: Pixel, *, label: str) -> str:
    """One point as an answer."""
    return _fenced({"point_2d": list(point), "label": label})


def flat_box_text(seen: Seen) -> str:
    """The bounds of an object's visible pixels as an answer."""
    return _fenced({"bbox_2d": seen.bbox, "label": seen.category})


def path_text(points: Sequence[Pixel]) -> str:
    """A path as an answer: [[x, y], [x, y], ...]."""
    return json.dumps([list(point) for point in points])


def _fenced(entry: dict[str, object]) -> str:
    return f"```json\n[\n\t{json.dumps(entry)}\n]\n```"


def inmost_pixel(mask: Array) -> Pixel:
    """The pixel of a mask (H,W) bool that is nearest to its middle among those that lie deep in it.

    Deep means `_DEEP` of the way from its outline to its deepest pixel; the picture's edge counts as outline. So the
    middle of a long box is found as well as the rim of a bowl whose middle is hidden.
    """
    inside = np.argwhere(mask)
    top, left = inside.min(axis=0)
    bottom, right = inside.max(axis=0) + 1
    depths = distance_transform_edt(np.pad(mask[top:bottom, left:right], 1))[1:-1, 1:-1]
    deep = np.argwhere(depths >= _DEEP * depths.max()) + np.array([top, left])
    row, column = deep[int(np.argmin(np.linalg.norm(deep - inside.mean(axis=0), axis=1)))]
    return int(column), int(row)


def pixel_of(view: View, *, place: Array) -> Pixel | None:
    """The pixel at which a place (3,) of the world, m, lies in the picture; None when it lies outside."""
    point = apply(view.world_to_camera, points=place)
    if point[2] <= 0:
        return None
    column, row = (int(value) for value in np.floor(project(point, intrinsics=view.intrinsics)))
    return (column, row) if 0 <= column < view.width and 0 <= row < view.height else None
