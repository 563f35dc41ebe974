"""The seam of this package: one way in which an episode may differ from the official one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np

from vst_vla.envs.simulator import Simulator


class CannotVary(ValueError):
    """This scene cannot be changed in the way that was asked for."""


class Axis(Protocol):
    """Changes a settled scene."""

    def __call__(
        self, simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack
    ) -> dict[str, Any]:
        """Changes the scene and says how.

        Args:
            simulator: the scene, objects at rest.
            strength: how far from the official episode, in (0, 1].
            rng: the only source of chance.
            undo: gets a callback for whatever a reset to a state does not restore.

        Returns:
            What was done, in values that JSON can hold.

        Raises:
            CannotVary: when this scene cannot be changed in this way.
        """
        ...
