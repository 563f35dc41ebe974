"""What every cell of a coarse grid over a policy's picture shows: labels for learning geometry, exact and small.

A cell is labelled by the pixels of a drawing with `SAMPLES` pixels a cell and side: its class is the one most of them
show, its point is that of the pixel, among those of this class, that has the median depth. The point therefore lies on
the object, and the camera projects it into the cell. `contracts.CELL_NUMBERS` has the format.

Letters in shapes: G cells of a side, P pixels of a side, S samples of a cell.
"""

from __future__ import annotations

import numpy as np

from vst_vla.envs.culling import without_unseen
from vst_vla.envs.geometry import apply, invert_rigid, unproject
from vst_vla.envs.objects import find_objects, robot_geoms
from vst_vla.envs.scene import camera_matrices
from vst_vla.envs.simulator import Simulator
from vst_vla.envs.truth import draw_labels
from vst_vla.vla.contracts import Array

CELLS = 32
"""G: cells of 8 px in a picture of 256 px."""
SAMPLES = 4
BACKGROUND, ROBOT = "background", "robot"
_LIMIT = np.iinfo(np.int16)


class CellReader:
    """Labels the pictures of one simulator. Objects are looked up when it is made.

    Attributes:
        classes: what the class numbers mean: background, robot, then the categories of the scene's objects and parts.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        objects = find_objects(simulator)
        self.classes = tuple(dict.fromkeys([BACKGROUND, ROBOT, *(item.category for item in objects)]))
        model = simulator.sim.model._model
        self._class = np.zeros(model.ngeom + 1, dtype=np.int16)  # geom id -> class; -1 finds the last, the background
        self._class[:-1][robot_geoms(simulator)] = self.classes.index(ROBOT)
        for item in objects:  # a part comes after its whole and takes its own geoms
            self._class[:-1][item.geoms] = self.classes.index(item.category)

    def read(self, camera: str) -> Array:
        """The labels (G,G,5) int16 of the picture that the camera takes now, mirrored as policies see it."""
        model, data = self._simulator.sim.model._model, self._simulator.sim.data._data
        size = CELLS * SAMPLES
        with without_unseen(model, data, camera=model.camera(camera).id):
            geoms, depth = draw_labels(self._simulator, camera=camera, size=size)
        intrinsics, world_to_camera = camera_matrices(self._simulator, camera=camera, size=size)
        points = apply(invert_rigid(world_to_camera), points=unproject(depth, intrinsics=intrinsics))
        numbers = 1000 * np.concatenate([depth[..., None], points], axis=-1)
        numbers[geoms < 0] = 0
        return summarise(self._class[geoms], numbers)[:, ::-1].copy()


def summarise(classes: Array, numbers: Array, *, side: int = CELLS) -> Array:
    """Each cell's label (G,G,5) int16 from its pixels: classes (P,P), and depth, x, y, z in mm (P,P,4); G is `side`."""
    classes, numbers = _by_cell(classes[..., None], side)[..., 0], _by_cell(numbers, side)
    votes = (classes[..., None] == classes[..., None, :]).sum(axis=-1)  # (G,G,S) pixels that agree with each
    winner = np.take_along_axis(classes, votes.argmax(axis=-1)[..., None], axis=-1)  # (G,G,1)
    depth = np.where(classes == winner, numbers[..., 0], np.inf)
    middle = (votes.max(axis=-1, keepdims=True) - 1) // 2
    chosen = np.take_along_axis(depth.argsort(axis=-1), middle, axis=-1)
    point = np.take_along_axis(numbers, chosen[..., None], axis=2)[:, :, 0]
    rounded = np.clip(np.rint(point), _LIMIT.min, _LIMIT.max)
    return np.concatenate([winner, rounded], axis=-1).astype(np.int16)


def _by_cell(pixels: Array, side: int) -> Array:
    """(P,P,D) -> (G,G,S,D)."""
    blocks = pixels.reshape(side, SAMPLES, side, SAMPLES, -1).swapaxes(1, 2)
    return blocks.reshape(side, side, SAMPLES**2, -1)
