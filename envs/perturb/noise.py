"""The noise axis: what a bad camera does to the pictures, all episode long. The scene and the videos stay as they are.

One of five faults is drawn for an episode: grain, blur, motion blur, fog, coarse pixels. Grain differs from picture to
picture, and is the same for the same picture, so that an episode can be repeated to the bit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from scipy import ndimage

from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

Fault = Callable[[Array, float, int], Array]
"""A picture (H, W, 3) float in [0, 255], the strength and a seed -> the picture as the camera gives it."""

GRAIN = 60.0  # standard deviation of 255 at full strength
BLUR = 0.02  # standard deviation as a share of the picture's width
MOTION = 0.08  # length as a share of the width
FOG = 0.7  # share of the picture that is fog
GREY = 200.0  # what fog looks like
COARSE = 1 / 24  # side of a coarse pixel as a share of the width


def vary_noise(simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack) -> dict[str, Any]:
    """An `Axis`. The description holds the fault."""
    name = sorted(FAULTS)[int(rng.integers(len(FAULTS)))]
    seed = int(rng.integers(2**31))

    def sensor(picture: Array) -> Array:
        return spoil(picture, fault=name, strength=strength, seed=seed)

    undo.callback(setattr, simulator, "sensor", simulator.sensor)
    simulator.sensor = sensor
    return {"fault": name}


def spoil(picture: Array, *, fault: str, strength: float, seed: int) -> Array:
    """A picture (H, W, 3) uint8 with a fault out of `FAULTS`; depends on its arguments only."""
    spoilt = FAULTS[fault](picture.astype(np.float32), strength, zlib.crc32(picture.tobytes(), seed))
    return spoilt.round().clip(0, 255).astype(np.uint8)


def _grain(picture: Array, strength: float, seed: int) -> Array:
    return picture + np.random.default_rng(seed).normal(0, strength * GRAIN, picture.shape)


def _blur(picture: Array, strength: float, seed: int) -> Array:
    sigma = strength * BLUR * picture.shape[1]
    return np.asarray(ndimage.gaussian_filter(picture, (sigma, sigma, 0)))


def _motion(picture: Array, strength: float, seed: int) -> Array:
    length = max(2, round(strength * MOTION * picture.shape[1]))
    return np.asarray(ndimage.uniform_filter1d(picture, length, axis=1))


def _fog(picture: Array, strength: float, seed: int) -> Array:
    return picture + strength * FOG * (GREY - picture)


def _coarse(picture: Array, strength: float, seed: int) -> Array:
    side = max(2, round(strength * COARSE * picture.shape[1]))
    rows, columns = (np.arange(size) // side * side for size in picture.shape[:2])
    return np.asarray(picture[rows][:, columns])


FAULTS: dict[str, Fault] = {"grain": _grain, "blur": _blur, "motion": _motion, "fog": _fog, "coarse": _coarse}
