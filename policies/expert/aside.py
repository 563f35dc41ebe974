"""How an object gets out from under something that hangs over it, as beside an open drawer, before it is lifted."""

from __future__ import annotations

import numpy as np

from vst_vla.policies.expert.situation import Situation
from vst_vla.vla.contracts import Array

MARGIN = 0.024  # m kept between the object and what hangs over it
FARTHEST, STEP = 0.2, 0.01  # m
DIRECTIONS = 16
BUMP = 0.03  # m above the object's underside up to which things can be passed over on the way


def step_aside(seen: Situation) -> Array:
    """The shortest level way (3,) m to where nothing hangs over it; zero when nothing hangs over the object."""
    cells = seen.shape.cells(step=2)
    top, bottom = float(seen.shape.top.max()), float(seen.shape.underside.min())
    around = seen.around.widened(MARGIN)
    if not (around.top_at(cells) > top).any():
        return np.zeros(3)
    angles = np.linspace(0.0, 2 * np.pi, DIRECTIONS, endpoint=False)
    for distance in np.arange(STEP, FARTHEST, STEP):
        for way in distance * np.stack([np.cos(angles), np.sin(angles)], axis=1):
            reached = around.top_at(cells + way)
            if (np.isfinite(reached) & (reached < bottom + BUMP)).all():
                return np.append(way, 0.0)
    return np.zeros(3)
