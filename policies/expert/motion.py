"""How the hand moves: proportional control of its pose in the action's own units, saturated at full speed."""

from __future__ import annotations

import numpy as np

from vst_vla.policies.expert.geometry import Hand
from vst_vla.vla.contracts import LIBERO_ACTION, Array

OPEN, CLOSE = -1.0, 1.0
METRES_PER_UNIT = 0.05
RADIANS_PER_UNIT = 0.5
GAIN = 1.5
"""Above 1, because OSC_POSE covers about a quarter of the distance that one step asks for."""
TURN_GAIN = 0.6


def steer(hand: Hand, *, position: Array, rotation: Array, grip: float, speed: float = 1.0) -> Array:
    """The action (7,) that moves the hand towards a pose.

    Args:
        hand: where it is.
        position: where its fingertips should be, (3,) m.
        rotation: how it should be turned, (3,3), columns as in `Hand`.
        grip: OPEN or CLOSE.
        speed: bound on the length of the translation, 1 is full speed (0.05 m asked for a step).
    """
    move = (position - hand.position) * (GAIN / METRES_PER_UNIT)
    move *= min(1.0, speed / max(float(np.linalg.norm(move)), 1e-9))
    turn = rotation_vector(rotation @ hand.rotation.T) * (TURN_GAIN / RADIANS_PER_UNIT)
    return LIBERO_ACTION.clip(np.concatenate([move, turn, [grip]])).astype(np.float32)


def pointing_down(heading: float) -> Array:
    """Rotation (3,3) of a hand that reaches straight down and closes along `heading` (rad)."""
    closing = np.array([np.cos(heading), np.sin(heading), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    return np.stack([closing, np.cross(down, closing), down], axis=1)


def about_up(angle: float) -> Array:
    """Rotation (3,3) by `angle` (rad) about the world's z axis."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def rotation_vector(rotation: Array) -> Array:
    """Axis times angle (3,) in rad of a rotation matrix, for angles below pi."""
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    sine, cosine = np.linalg.norm(axis) / 2, (np.trace(rotation) - 1) / 2
    angle = float(np.arctan2(sine, cosine))
    return axis / 2 if sine < 1e-9 else axis * (angle / (2 * sine))
