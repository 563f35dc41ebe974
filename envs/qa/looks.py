"""Other looks for scenes that questions are about: the light and the background of `envs.perturb`, at full strength.

LIBERO has a handful of rooms, and whoever learns to see from them alone learns these rooms.
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from vst_vla.envs.perturb.background import vary_background
from vst_vla.envs.perturb.light import vary_light
from vst_vla.envs.simulator import Simulator


class Looks:
    """Changes how one simulator's scene looks; objects and robot keep their colours."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._undo = ExitStack()

    def draw(self, share: float, *, rng: np.random.Generator) -> None:
        """The scene's own look again, or another one in a share of all cases; nothing is drawn where that is 0."""
        self._undo.close()
        if share and rng.random() < share:
            for vary in (vary_light, vary_background):
                vary(self._simulator, strength=1.0, rng=rng, undo=self._undo)
