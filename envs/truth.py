"""Pictures with their ground truth, out of one OpenGL context: colour and depth in one pass, geom ids in a second.

robosuite's own segmentation picture overflows with numpy 2 (it multiplies 8-bit colours), so ids are decoded here.
All pictures are upright and unmirrored. Letters in shapes: H/W pixels, G geoms of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array, unknown_name

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
"""Turns MuJoCo's camera axes (y up, z backward) into OpenCV's, and back."""

_HIDDEN_GROUP = 5  # never drawn: mujoco.MjvOption shows groups 0 to 2
_LEAVE_OUT = (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION)


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A camera put anywhere, beside those that the scene's model holds."""

    name: str
    camera_to_world: Array  # (4,4), OpenCV axes, physical world, m
    fovy_deg: float


def draw_picture(simulator: Simulator, *, camera: str | Camera, size: int) -> tuple[Array, Array]:
    """Colour (size,size,3) uint8 and depth (size,size) float32 in m along the camera's z axis."""
    context = _aim(simulator, camera)
    _render(context, size)
    colour, buffer = _read(context, size)
    return colour, _metres(simulator, buffer)


def draw_geoms(simulator: Simulator, *, camera: str | Camera, size: int) -> Array:
    """MuJoCo geom ids (size,size) int32, -1 where there is none."""
    return draw_labels(simulator, camera=camera, size=size)[0]


def draw_labels(simulator: Simulator, *, camera: str | Camera, size: int) -> tuple[Array, Array]:
    """In one pass, `draw_geoms` and the depth (size,size) float32 in m along the camera's z axis."""
    context = _aim(simulator, camera)
    with _id_colours(context.scn):
        _render(context, size)
    colour, buffer = _read(context, size)
    table = np.full(context.scn.ngeom + 1, -1, dtype=np.int32)  # segment id + 1 -> geom id
    for geom in context.scn.geoms[: context.scn.ngeom]:
        if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
            table[geom.segid + 1] = geom.objid
    code = colour.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], dtype=np.int32)
    return np.asarray(table[np.where(code < len(table), code, 0)]), _metres(simulator, buffer)


@contextmanager
def only(simulator: Simulator, *, geoms: Array) -> Iterator[None]:
    """While open, only the chosen geoms (G,) bool are drawn."""
    groups = simulator.sim.model._model.geom_group
    before = groups.copy()
    groups[~geoms] = _HIDDEN_GROUP
    try:
        yield
    finally:
        groups[:] = before


@contextmanager
def _id_colours(scene: Any) -> Iterator[None]:
    """While open, geoms are drawn in flat colours that number them."""
    flags = (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR)
    before = {flag: scene.flags[flag] for flag in (*flags, *_LEAVE_OUT)}
    for flag in before:
        scene.flags[flag] = flag in flags
    try:
        yield
    finally:
        for flag, value in before.items():
            scene.flags[flag] = value


def camera_number(simulator: Simulator, *, name: str) -> int:
    """The model's camera of that name. Raises ValueError for an unknown one."""
    model = simulator.sim.model._model
    names = [model.camera(i).name for i in range(model.ncam)]
    if name not in names:
        raise unknown_name("camera", name, names)
    return names.index(name)


def _aim(simulator: Simulator, camera: str | Camera) -> Any:
    """The offscreen context, with the scene as seen by the camera. Raises ValueError for an unknown camera."""
    number = camera_number(simulator, name=camera) if isinstance(camera, str) else 0
    simulator._ensure_context()
    context = simulator.sim._render_context_offscreen
    context.gl_ctx.make_current()
    context.cam.type, context.cam.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, number
    if isinstance(camera, str):
        _update(simulator, context)
    else:
        with _lent(simulator, number, camera):
            _update(simulator, context)
    return context


def _update(simulator: Simulator, context: Any) -> None:
    model, data = simulator.sim.model._model, simulator.sim.data._data
    mujoco.mjv_updateScene(
        model, data, context.vopt, context.pert, context.cam, mujoco.mjtCatBit.mjCAT_ALL, context.scn
    )


@contextmanager
def _lent(simulator: Simulator, number: int, camera: Camera) -> Iterator[None]:
    """While open, one of the model's cameras stands where `camera` does."""
    model, data = simulator.sim.model._model, simulator.sim.data._data
    slots = data.cam_xpos[number], data.cam_xmat[number], model.cam_fovy[number : number + 1]
    before = [slot.copy() for slot in slots]
    rotation = camera.camera_to_world[:3, :3] @ OPENCV_FROM_OPENGL
    values = camera.camera_to_world[:3, 3], rotation.ravel(), camera.fovy_deg
    for slot, value in zip(slots, values, strict=True):
        slot[:] = value
    try:
        yield
    finally:
        for slot, value in zip(slots, before, strict=True):
            slot[:] = value


def _render(context: Any, size: int) -> None:
    if size > min(context.con.offWidth, context.con.offHeight):
        context.update_offscreen_size(size, size)
    mujoco.mjr_render(mujoco.MjrRect(0, 0, size, size), context.scn, context.con)


def _metres(simulator: Simulator, buffer: Array) -> Array:
    """OpenGL's depth buffer -> m along the camera's z axis."""
    visual, extent = simulator.sim.model.vis.map, simulator.sim.model.stat.extent
    depth = visual.znear * extent / (1.0 - buffer * (1.0 - visual.znear / visual.zfar))
    return np.asarray(depth, dtype=np.float32)


def _read(context: Any, size: int) -> tuple[Array, Array]:
    """Colour and depth buffer, top row first."""
    colour, depth = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.float32)
    mujoco.mjr_readPixels(colour, depth, mujoco.MjrRect(0, 0, size, size), context.con)
    return colour[::-1], depth[::-1]
