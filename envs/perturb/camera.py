"""The camera axis: the agent view from elsewhere. The wrist camera stays where it is.

The camera moves about the point of the work surface that it looks at, inside a cone about its own direction, and
somewhat nearer or further; it is rolled and its field of view changed a little. A view that loses an object is drawn
again, each time nearer to the official one.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import mujoco
import numpy as np

from vst_vla.envs.geometry import apply, multiply_quaternions, project, rotation_about
from vst_vla.envs.perturb.solids import read_solids
from vst_vla.envs.scene import camera_matrices
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.vla.contracts import Array

MAX_ANGLE = math.radians(25)  # half angle of the cone at full strength
MAX_ZOOM = 0.15  # natural logarithm of the distance's factor
MAX_ROLL = math.radians(5)
MAX_FOV = 0.1  # share of the field of view
VIEWS = 20


def vary_camera(simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack) -> dict[str, Any]:
    """An `Axis`. The description holds the turn about the point looked at, the roll (degrees), and the new view."""
    model = simulator.sim.model._model
    number = model.camera(CAMERAS[0]).id
    assert model.cam_bodyid[number] == 0, "the agent view stands in the world"
    official = model.cam_pos[number].copy(), model.cam_quat[number].copy(), float(model.cam_fovy[number])
    undo.callback(_put, simulator, *official)
    seen = _in_view(simulator)
    for tries in range(VIEWS):
        view = _draw(simulator, strength * (1 - tries / (VIEWS - 1)), rng)
        if _in_view(simulator) >= seen:
            break
        _put(simulator, *official)
    return view


def _draw(simulator: Simulator, strength: float, rng: np.random.Generator) -> dict[str, Any]:
    """Moves the camera and describes it."""
    model, data = simulator.sim.model._model, simulator.sim.data._data
    number = model.camera(CAMERAS[0]).id
    position, axes = data.cam_xpos[number].copy(), data.cam_xmat[number].reshape(3, 3).copy()
    target = _looked_at(position, axes, height=float(data.body("robot0_base").xpos[2]))
    heading, share, zoom, roll, fov = rng.uniform([0, 0, -1, -1, -1], [2 * np.pi, 1, 1, 1, 1])
    angle = strength * MAX_ANGLE * math.sqrt(share)  # uniform over the cone's disc
    tilt_axis = np.cos(heading) * axes[:, 0] + np.sin(heading) * axes[:, 1]
    distance = math.exp(strength * MAX_ZOOM * zoom)
    moved = target + distance * (rotation_about(tilt_axis, angle=angle) @ (position - target))
    turned = multiply_quaternions(_about(tilt_axis, angle), model.cam_quat[number])
    rolled = multiply_quaternions(turned, _about(np.array([0.0, 0.0, 1.0]), strength * MAX_ROLL * roll))
    fovy = float(model.cam_fovy[number] * (1 + strength * MAX_FOV * fov))
    _put(simulator, moved, rolled, fovy)
    return {
        "turn_deg": math.degrees(angle),
        "roll_deg": math.degrees(strength * MAX_ROLL * roll),
        "distance_factor": distance,
        "position": moved.tolist(),
        "quaternion_wxyz": rolled.tolist(),
        "fovy_deg": fovy,
    }


def _in_view(simulator: Simulator) -> set[str]:
    """The movable objects whose middle the agent view shows."""
    intrinsics, world_to_camera = camera_matrices(simulator, camera=CAMERAS[0], size=1)
    data = simulator.sim.data._data
    middles = {s.name: s.corners(data).mean(axis=0) for s in read_solids(simulator) if not s.fixture}
    pixels = {n: project(apply(world_to_camera, points=m), intrinsics=intrinsics) for n, m in middles.items()}
    return {name for name, pixel in pixels.items() if ((pixel > 0) & (pixel < 1)).all()}


def _put(simulator: Simulator, position: Array, quaternion: Array, fovy: float) -> None:
    """Stands the agent view at a pose in the world; the physics does not notice."""
    model, data = simulator.sim.model._model, simulator.sim.data._data
    number = model.camera(CAMERAS[0]).id
    model.cam_pos[number], model.cam_quat[number], model.cam_fovy[number] = position, quaternion, fovy
    mujoco.mj_camlight(model, data)


def _looked_at(position: Array, axes: Array, *, height: float) -> Array:
    """Where the optical axis meets a level (3,): MuJoCo's cameras look along -z."""
    ahead = -axes[:, 2]
    return np.asarray(position + ahead * (height - position[2]) / ahead[2])


def _about(axis: Array, angle: float) -> Array:
    """The quaternion (4,), scalar first, of a turn about a unit axis."""
    return np.array([math.cos(angle / 2), *(math.sin(angle / 2) * axis)])
