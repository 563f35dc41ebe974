"""What the cells of a question's pictures show, as labels beside it: which object, how far off, and where.

They are no part of the question or its answer: training may teach them to the visual tokens of the pictures
(`recipe.readout_weight`), which is what makes random weights see; their answers alone hardly do. Every picture's entry
in a record's `meta_info` has them under "cells"; films have none:

    side      G: cells of a side
    names     what the class numbers mean; 0 is no object
    numbers   G * G times class, depth, x, y, z, row by row; lengths in mm, in the camera's OpenCV axes
    pose      those axes' (3,4) in the robot's, row by row, m: the world's, from where the robot stands

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vst_vla.envs.cells import BACKGROUND, SAMPLES, summarise
from vst_vla.envs.geometry import invert_rigid, unproject
from vst_vla.envs.qa.base import VIDEO, QAItem
from vst_vla.envs.qa.view import View, views_of
from vst_vla.vla.contracts import Array, SceneState

SIDE = 8


class SceneCells:
    """The labels of one scene's pictures, each made when it is first asked for.

    Args:
        scene: that items are about; several cameras see it.
    """

    def __init__(self, scene: SceneState) -> None:
        self._views = {view.name: view for view in views_of(scene)}
        self._made: dict[str, dict[str, Any]] = {}

    def of(self, item: QAItem) -> list[dict[str, Any]]:
        """The labels of an item's pictures in their order; none of a film's."""
        cameras = item.about.get("cameras") or [item.about.get("camera")]
        if item.kind == VIDEO or len(cameras) != len(item.images) or not set(cameras) <= self._views.keys():
            return []
        return [self._of(camera) for camera in cameras]

    def _of(self, camera: str) -> dict[str, Any]:
        if camera not in self._made:
            self._made[camera] = view_cells(self._views[camera])
        return self._made[camera]


def view_cells(view: View) -> dict[str, Any]:
    """The labels of a view's picture, whose sides have at least `SIDE` times `SAMPLES` pixels."""
    rows, columns = (_sampled(length) for length in (view.height, view.width))
    points = unproject(view.depth, intrinsics=view.intrinsics)[rows[:, None], columns]
    numbers = 1000 * np.concatenate([points[..., 2:], points], axis=-1)
    seen = owners(view)[rows[:, None], columns]
    names = sorted({view.scene.categories[int(number)] for number in np.unique(seen[seen >= 0])})
    table = np.array([1 + names.index(name) if name in names else 0 for name in view.scene.categories] + [0])
    cells = summarise(table[seen].astype(np.int16), numbers, side=SIDE)
    pose = robot_pose(view).round(4).ravel().tolist()
    return {"side": SIDE, "names": [BACKGROUND, *names], "numbers": cells.ravel().tolist(), "pose": pose}


def robot_pose(view: View) -> Array:
    """The camera (3,4) in the world's axes, from where the robot stands, m."""
    pose = invert_rigid(view.world_to_camera)[:3]
    pose[:, 3] -= view.scene.base
    return np.asarray(pose)


def owners(view: View) -> Array:
    """The whole object at each pixel (H,W), -1 for none; a drawer's handle counts as the cabinet."""
    whole = [-1, *(_whole(view.scene.parents, number) for number in range(view.scene.num_objects))]
    return np.asarray(np.array(whole)[view.scene.instances[view.camera]])


def _whole(parents: Sequence[int], number: int) -> int:
    return number if parents[number] < 0 else _whole(parents, parents[number])


def _sampled(length: int) -> Array:
    """The pixels of a side that are looked at, evenly spread."""
    return ((np.arange(SIDE * SAMPLES) + 0.5) * length / (SIDE * SAMPLES)).astype(int)
