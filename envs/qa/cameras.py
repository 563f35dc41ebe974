"""Cameras around a scene's work area: one lens for all cameras of a scene, another for the next scene.

Directions are drawn from the upper half around the area except towards the robot's base, distances so that the objects
fill a good part of the picture. A camera is taken when most of its line of sight to the area's middle is free, so that
it stands in or behind no wall, fixture or arm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from vst_vla.envs.geometry import rigid, rotation_about
from vst_vla.envs.simulator import Simulator
from vst_vla.envs.truth import Camera
from vst_vla.vla.contracts import Array

_FOVY_DEG = (35.0, 70.0)
_ELEVATION_DEG = (20.0, 70.0)
_ROBOT_CONE_DEG = 50.0  # to either side of the direction towards the robot's base, where no camera stands
_ROLL_DEG = 4.0
_SPAN = (0.9, 1.6)  # half the picture's height at the middle's distance, in radii of the area
_DISTANCE = (0.45, 2.0)  # m
_CLEARANCE = 0.25  # m in front of a camera that nothing enters
_FREE_SIGHT = 0.6  # of the way to the aim
_JITTER = 0.25  # of the radius, by which the aim misses the middle
_TRIES = 40


class CameraSampler:
    """Draws cameras for one simulator's scenes."""

    def __init__(self, simulator: Simulator) -> None:
        self._model: Any = simulator.sim.model._model
        self._data: Any = simulator.sim.data._data
        self._base = self._model.body(simulator.problem.robots[0].robot_model.root_body).id

    def lens(self, *, rng: np.random.Generator) -> float:
        """A vertical field of view in degrees."""
        return float(rng.uniform(*_FOVY_DEG))

    def sample(self, places: Array, *, fovy_deg: float, names: Sequence[str], rng: np.random.Generator) -> list[Camera]:
        """Cameras that look at places (N,3) of the world; fewer than names when the scene leaves no room."""
        middle = (places.min(axis=0) + places.max(axis=0)) / 2
        radius = max(0.15, float(np.linalg.norm(places[:, :2] - middle[:2], axis=1).max()))
        cameras = [self._camera(name, middle, radius, fovy_deg, rng) for name in names]
        return [camera for camera in cameras if camera is not None]

    def _camera(
        self, name: str, middle: Array, radius: float, fovy_deg: float, rng: np.random.Generator
    ) -> Camera | None:
        for _ in range(_TRIES):
            aim = middle + rng.uniform(-1, 1, size=3) * (_JITTER * radius) * np.array([1, 1, 0.3])
            distance = radius * rng.uniform(*_SPAN) / math.tan(math.radians(fovy_deg) / 2)
            eye = aim + self._direction(middle, rng) * float(np.clip(distance, *_DISTANCE))
            if self._is_free(eye, aim):
                roll = math.radians(rng.uniform(-_ROLL_DEG, _ROLL_DEG))
                return Camera(name=name, camera_to_world=look_at(eye, aim=aim, roll=roll), fovy_deg=fovy_deg)
        return None

    def _direction(self, middle: Array, rng: np.random.Generator) -> Array:
        """A unit vector (3,) from the middle towards a camera."""
        towards = self._data.xpos[self._base] - middle
        free = math.radians(180.0 - _ROBOT_CONE_DEG)
        azimuth = math.atan2(-towards[1], -towards[0]) + rng.uniform(-free, free)
        elevation = math.radians(rng.uniform(*_ELEVATION_DEG))
        level = math.cos(elevation)
        return np.array([level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)])

    def _is_free(self, eye: Array, aim: Array) -> bool:
        """Whether nothing stands around the camera or between it and what it looks at."""
        length = float(np.linalg.norm(aim - eye))
        geom = np.zeros(1, dtype=np.int32)
        hit = mujoco.mj_ray(self._model, self._data, eye, (aim - eye) / length, None, 1, -1, geom, None)
        return hit < 0 or float(hit) > max(_CLEARANCE, _FREE_SIGHT * length)


def look_at(eye: Array, *, aim: Array, roll: float = 0.0) -> Array:
    """Pose (4,4) in OpenCV axes of a camera at `eye` (3,) that looks at `aim` (3,), level but for `roll` rad."""
    forward = (aim - eye) / np.linalg.norm(aim - eye)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=-1)
    return rigid(rotation @ rotation_about(np.array([0.0, 0.0, 1.0]), angle=roll), translation=eye)
