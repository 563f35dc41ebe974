"""Other looks for scenes that questions are about: the light and the background of `envs.perturb`, at full strength.

LIBERO has a handful of rooms, and whoever learns to see from them alone learns these rooms.
"""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from vst_vla.envs.perturb.perturbation import Perturbation, perturb
from vst_vla.envs.simulator import Simulator

AXES = ("light", "background")


class Looks:
    """Changes how one simulator's scene looks; objects and robot keep their colours."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._undo = ExitStack()

    def draw(self, share: float, *, rng: np.random.Generator) -> None:
        """The scene's own look again, or another one in a share of all cases; nothing is drawn where that is 0."""
        self._undo.close()
        if share and rng.random() < share:
            seed = tuple(int(number) for number in rng.integers(2**31, size=2))
            perturb(self._simulator, Perturbation(axes=AXES, strength=1.0, seed=seed), undo=self._undo)
