"""What the cells of a picture show, as labels beside a question: which object, how far off, and where.

They are no part of the question or its answer: training may teach them to the visual tokens of the picture
(`recipe.readout_weight`). A record's first picture has them under "cells" in `meta_info`:

    side      G: cells of a side
    names     what the class numbers mean; 0 is no object
    numbers   G * G times class, depth, x, y, z, row by row; lengths in mm, in the camera's OpenCV axes
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vst_vla.envs.cells import SAMPLES, summarise
from vst_vla.envs.geometry import unproject
from vst_vla.envs.qa.view import View
from vst_vla.vla.contracts import Array

SIDE = 8
BACKGROUND = "background"


def view_cells(view: View, owners: Array) -> dict[str, Any]:
    """The labels of a view's picture.

    Args:
        view: of the picture, at least `SIDE` times `SAMPLES` pixels a side.
        owners: the object that each pixel (H,W) is counted to, -1 for none.
    """
    rows, columns = (_sampled(length) for length in (view.height, view.width))
    points = unproject(view.depth, intrinsics=view.intrinsics)[rows[:, None], columns]
    numbers = 1000 * np.concatenate([points[..., 2:], points], axis=-1)
    seen = owners[rows[:, None], columns]
    names = sorted({view.scene.categories[int(number)] for number in np.unique(seen[seen >= 0])})
    table = np.array([1 + names.index(name) if name in names else 0 for name in view.scene.categories] + [0])
    cells = summarise(table[seen].astype(np.int16), numbers, side=SIDE)
    return {"side": SIDE, "names": [BACKGROUND, *names], "numbers": cells.ravel().tolist()}


def _sampled(length: int) -> Array:
    """The pixels of a side that are looked at, evenly spread."""
    return ((np.arange(SIDE * SAMPLES) + 0.5) * length / (SIDE * SAMPLES)).astype(int)
