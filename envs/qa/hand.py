"""Where the robot's hand is in a picture, and how near it comes to objects.

The hand's place is the point between its fingertips.
"""

from __future__ import annotations

import numpy as np

from vst_vla.envs.geometry import apply, invert_rigid
from vst_vla.envs.qa.pixels import Pixel, pixel_of
from vst_vla.envs.qa.view import View
from vst_vla.envs.simulator import CAMERAS
from vst_vla.vla.contracts import Array, SceneState

WRIST = CAMERAS[1]
"""The camera that moves with the hand, in whose picture the hand never moves."""
_HAND_DEPTH = 0.12
"""Metres in front of the point between the fingertips that the hand itself can take up, seen from any side."""
_BETWEEN_DEPTH = 0.04
"""The same for an object that is between the fingers but not held yet."""


def hand_place(scene: SceneState) -> Array:
    """The point between the fingertips (3,) in the world, m."""
    return np.asarray(scene.gripper.pose[:3, 3])


def hand_pixel(view: View) -> Pixel | None:
    """The hand's pixel; None when it lies outside the picture or something else stands in front of it."""
    pixel = pixel_of(view, place=hand_place(view.scene))
    if pixel is None:
        return None
    owner = int(view.scene.instances[view.camera][pixel[1], pixel[0]]) - 1
    is_robot = owner < 0 or owner in view.scene.gripper.held
    in_front = float(hand_in_camera(view)[2] - view.depth[pixel[1], pixel[0]])
    return pixel if in_front <= (_HAND_DEPTH if is_robot else _BETWEEN_DEPTH) else None


def hand_in_camera(view: View) -> Array:
    """The point between the fingertips (3,) in the camera's frame, m."""
    return apply(view.world_to_camera, points=hand_place(view.scene))


def reach_to(scene: SceneState, *, number: int, places: Array) -> Array:
    """Distances (...) in m of places (..., 3) of the world from an object's box, 0 inside it."""
    local = apply(invert_rigid(scene.poses[number]), points=places)
    beyond = np.maximum(np.abs(local) - scene.half_extents[number], 0)
    return np.asarray(np.linalg.norm(beyond, axis=-1))
