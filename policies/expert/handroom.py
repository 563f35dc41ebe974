"""How low an open hand that reaches straight down can come at each place of a height map. Letters as in grasp.py."""

from __future__ import annotations

import numpy as np

from vst_vla.policies.expert.heights import Heights
from vst_vla.vla.contracts import Array

FINGER_INNER, FINGER_OUTER = 0.036, 0.056  # m from the grasp point to an open finger's sides
FINGER_HALF = 0.011  # m across the closing direction
FINGER_TIP = 0.010  # m that a finger reaches below the grasp point
PALM_HALF = (0.104, 0.030)  # m along and across the closing direction
PALM_HEIGHT = 0.031  # m of the palm's underside above the grasp point
MARGIN = 0.001  # m of height
WIDENED = 0.008  # m; the hand is sampled twice as coarsely, on a map that is widened by this much


class HandRoom:
    """A scene, prepared for looking up where the hand fits. Sizes: robosuite's Panda gripper's collision meshes.

    Args:
        scene: everything that the hand must not touch.
        extra: m by which the hand is taken to be wider.
    """

    def __init__(self, scene: Heights, *, extra: float = 0.0) -> None:
        self._scene = scene.widened(WIDENED + extra)

    def fingers(self, points: Array, axes: Array) -> Array:
        """Lowest height (N,) m of the grasp point over `points` (N,2) that the fingers allow; `axes` of `axes_of`."""
        side = np.array([FINGER_INNER + WIDENED, FINGER_OUTER - WIDENED])
        across = np.array([WIDENED - FINGER_HALF, FINGER_HALF - WIDENED])
        return self._highest(points, rectangle(np.append(-side, side), across, axes)) + FINGER_TIP + MARGIN

    def palm(self, points: Array, axes: Array) -> Array:
        """As `fingers`, for the palm."""
        along, across = (np.linspace(WIDENED - half, half - WIDENED, int(half / WIDENED) + 1) for half in PALM_HALF)
        return self._highest(points, rectangle(along, across, axes)) - PALM_HEIGHT + MARGIN

    def floor(self, points: Array, axes: Array) -> Array:
        """As `fingers`, for the whole hand."""
        return np.maximum(self.fingers(points, axes), self.palm(points, axes))

    def _highest(self, points: Array, part: Array) -> Array:
        return np.asarray(self._scene.top_at(points[:, None] + part.reshape(-1, 2)).max(axis=-1))


def axes_of(heading: float) -> Array:
    """Unit vectors (2,2) of a hand that points down: along its closing direction, and across it."""
    return np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])


def rectangle(along: Array, across: Array, axes: Array) -> Array:
    """Offsets (S,U,2) in the world of a grid in the hand's axes."""
    return np.asarray(along[:, None, None] * axes[0] + across[None, :, None] * axes[1])
