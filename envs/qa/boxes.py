"""3-D boxes in words: the camera's description, the format's, and answers as VST's records have them.

A box is nine numbers: centre x, y, z and sizes along its own X, Y, Z in metres, then pitch, yaw, roll: Euler angles
about the camera's fixed X, Y, Z axes in degrees divided by 180. The frame is the camera's: X right, Y down, Z forward.
Two decimals each. Of the 24 ways to name a box's sides, the one with the smallest rotation is given (`upright_box`);
a round object's box is turned about its axis to the same end (`spin_box`), since no picture tells that turn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from vst_vla.envs.qa.view import Seen, View
from vst_vla.vla.contracts import Array

CAMERA_END = "We take the camera coordinate system as the world coordinate system."
"""VST's loaders look for this sentence: what stands before it is the camera, and is rewritten by unification."""

BOX_FORMAT = """
A 3D box is nine numbers: [x_center, y_center, z_center, x_size, y_size, z_size, pitch, yaw, roll]
* x_center, y_center, z_center: where the middle of the object is, in camera coordinates, in meters.
* x_size, y_size, z_size: how far the object extends along X, Y and Z before it is rotated, in meters.
* pitch, yaw, roll: Euler angles about X, Y and Z, in degrees divided by 180, so between -1 and 1.

Give a JSON list; every entry has the object's name in "label" and its box in "bbox_3d".
"""


def box_question(view: View, question: str, *, short: bool) -> str:
    """A request for boxes with all that its answer depends on: the camera, and unless `short` the format."""
    if short:
        horizontal, vertical = view.fovs
        return f"{question} hfov {horizontal:.2f}, vfov {vertical:.2f}, {view.width}x{view.height}."
    return f"{camera_text(view.intrinsics, width=view.width, height=view.height)}\n{BOX_FORMAT}{question}"


def camera_text(intrinsics: Array, *, width: int, height: int) -> str:
    """The camera (3,3) in px, keyed as VST's records key it, so that upstream's loader and ours can unify it."""
    return (
        f"Camera of this picture: image width={width} and height={height}. "
        f"Focal length f_x={intrinsics[0, 0]:.6f} and f_y={intrinsics[1, 1]:.6f}, principal point "
        f"c_x={intrinsics[0, 2]:.6f} and c_y={intrinsics[1, 2]:.6f}, in pixels. The lens has no distortion.\n"
        f"Camera coordinates: X points right, Y points down, Z points forward; the camera is the origin.\n{CAMERA_END}"
    )


def boxes_text(objects: Sequence[Seen]) -> str:
    """Their boxes in the view's frame as VST's fenced JSON list, one object a line."""
    lines = [f'\t{{"bbox_3d": [{_numbers(seen.box)}], "label": {json.dumps(seen.category)}}}' for seen in objects]
    return "```json\n[\n" + ",\n".join(lines) + "\n]\n```"


def _numbers(box: Array) -> str:
    rounded = np.round(box, 2)
    rounded[3:6] = np.maximum(rounded[3:6], 0.01)  # a thin side never reads 0
    return ", ".join(f"{value + 0.0:.2f}" for value in rounded)
