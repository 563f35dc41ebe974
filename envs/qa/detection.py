"""3-D object detection: the boxes of named objects, in VST's answer format.

A box is nine numbers: centre x, y, z and sizes along its own X, Y, Z in metres, then pitch, yaw, roll: Euler angles
about the camera's fixed X, Y, Z axes in degrees divided by 180. The frame is the camera's: X right, Y down, Z forward.
Two decimals each. Of the 24 ways to name a box's sides, the one with the smallest rotation is given (`upright_box`).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np

from vst_vla.envs.geometry import box_numbers, upright_box
from vst_vla.envs.qa.base import QAItem, clear_instances, spoken_list
from vst_vla.vla.contracts import Array, SceneState

CAMERA_END = "We take the camera coordinate system as the world coordinate system."
"""VST's loaders look for this sentence: what stands before it is the camera, and is rewritten by unification."""

SHORT_CATEGORIES = 3
"""Most categories that a short question names."""

BOX_FORMAT = """
A 3D box is nine numbers: [x_center, y_center, z_center, x_size, y_size, z_size, pitch, yaw, roll]
* x_center, y_center, z_center: where the middle of the object is, in camera coordinates, in meters.
* x_size, y_size, z_size: how far the object extends along X, Y and Z before it is rotated, in meters.
* pitch, yaw, roll: Euler angles about X, Y and Z, in degrees divided by 180, so between -1 and 1.

Give a JSON list; every entry has the object's name in "label" and its box in "bbox_3d".
"""

_QUESTIONS = (
    "Detect {objects} in the picture.",
    "Where in space are {objects}?",
    "Find the 3D boxes of {objects}.",
    "Locate {objects} in three dimensions.",
    "Give a 3D box for each of these: {objects}.",
)


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Asks for the 3-D boxes of one category, of several, or of everything in view, a third each.

    Args:
        short_prompt: one line instead of the description of camera and format, and at most three categories, for
            backbones that cannot afford long rows.
        min_visible: visible fraction below which an object is not asked about.
        min_pixels: the same in pixels of the picture.
    """

    short_prompt: bool = False
    min_visible: float = 0.3
    min_pixels: int = 16

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no object can be seen well."""
        choices = {
            camera: clear_instances(scene, camera=camera, min_visible=self.min_visible, min_pixels=self.min_pixels)
            for camera in range(len(scene.cameras))
        }
        cameras = [camera for camera, categories in choices.items() if categories]
        return [self._item(scene, choices, cameras, rng) for _ in range(count if cameras else 0)]

    def _item(
        self, scene: SceneState, choices: dict[int, dict[str, list[int]]], cameras: list[int], rng: np.random.Generator
    ) -> QAItem:
        camera = int(rng.choice(cameras))
        askable = choices[camera]
        names = [str(name) for name in rng.permutation(sorted(askable))]
        names = names[: SHORT_CATEGORIES if self.short_prompt else None]
        several = int(rng.integers(1, len(names) + 1))
        names = names[: (1, several, len(names))[int(rng.integers(3))]]
        asked = [(name, number) for name in names for number in askable[name]]
        return QAItem(
            family="detection",
            level="L0",
            kind="bbox_3d",
            question=self._question(scene, camera, names, rng),
            answer=answer_text([(name, camera_box(scene, camera=camera, number=o)) for name, o in asked]),
            images=(scene.images[camera],),
        )

    def _question(self, scene: SceneState, camera: int, names: list[str], rng: np.random.Generator) -> str:
        objects = spoken_list(names)
        height, width = scene.images.shape[1:3]
        intrinsics = scene.intrinsics[camera]
        if self.short_prompt:
            return f"Detect the 3D boxes of {objects}. {_angles(intrinsics, width, height)}, {width}x{height}."
        question = _QUESTIONS[int(rng.integers(len(_QUESTIONS)))].format(objects=objects)
        return f"{camera_text(intrinsics, width=width, height=height)}\n{BOX_FORMAT}{question}"


def camera_text(intrinsics: Array, *, width: int, height: int) -> str:
    """The camera (3,3) in pixels, keyed as VST's records key it, so that upstream's loader and ours can unify it."""
    return (
        f"Camera of this picture: image width={width} and height={height}. "
        f"Focal length f_x={intrinsics[0, 0]:.6f} and f_y={intrinsics[1, 1]:.6f}, principal point "
        f"c_x={intrinsics[0, 2]:.6f} and c_y={intrinsics[1, 2]:.6f}, in pixels. The lens has no distortion.\n"
        f"Camera coordinates: X points right, Y points down, Z points forward; the camera is the origin.\n{CAMERA_END}"
    )


def camera_box(scene: SceneState, *, camera: int, number: int) -> Array:
    """Object `number`'s nine numbers (9,) in a camera's frame, unrounded."""
    pose, half_extents = upright_box(
        scene.world_to_camera[camera] @ scene.poses[number], half_extents=scene.half_extents[number]
    )
    return box_numbers(pose, half_extents=half_extents)


def answer_text(boxes: list[tuple[str, Array]]) -> str:
    """Labelled boxes as VST's fenced JSON list, one object a line."""
    lines = [f'\t{{"bbox_3d": [{_numbers(box)}], "label": {json.dumps(label)}}}' for label, box in boxes]
    return "```json\n[\n" + ",\n".join(lines) + "\n]\n```"


def _numbers(box: Array) -> str:
    rounded = np.round(box, 2)
    rounded[3:6] = np.maximum(rounded[3:6], 0.01)  # a thin side never reads 0
    return ", ".join(f"{value + 0.0:.2f}" for value in rounded)


def _angles(intrinsics: Array, width: int, height: int) -> str:
    """Both fields of view in degrees."""
    horizontal, vertical = (
        2 * math.degrees(math.atan(side / (2 * focal)))
        for side, focal in ((width, intrinsics[0, 0]), (height, intrinsics[1, 1]))
    )
    return f"hfov {horizontal:.2f}, vfov {vertical:.2f}"
