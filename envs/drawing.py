"""`python -m vst_vla.envs.drawing`: draws one small scene and prints, as JSON, which device drew it and how fast."""

from __future__ import annotations

import json
import time

import mujoco

from vst_vla.vla.contracts import Array

SCENE = """
<mujoco>
  <asset><texture name="t" type="2d" builtin="checker" rgb1="1 1 1" rgb2="0 0 1" width="64" height="64"/>
    <material name="m" texture="t"/></asset>
  <worldbody>
    <light pos="0 0 3"/><camera name="eye" pos="0 -1 1" xyaxes="1 0 0 0 1 1"/>
    <geom type="plane" size="2 2 .1" material="m"/><geom type="box" size=".1 .1 .1" pos="0 0 .1" rgba="1 0 0 1"/>
  </worldbody>
</mujoco>
"""
SIDE = 256
FRAMES = 10


def draw() -> tuple[Array, str, float]:
    """One frame (256,256,3) uint8, the name of the device that drew it, and seconds a frame."""
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, SIDE, SIDE) as renderer:
        renderer.update_scene(data, "eye")
        frame = renderer.render().copy()
        start = time.perf_counter()
        for _ in range(FRAMES):
            renderer.render()
        return frame, _device(), (time.perf_counter() - start) / FRAMES


def _device() -> str:
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER)
    return name.decode() if name else "an unnamed device"


def main() -> None:
    """Draws, and fails when the picture holds one colour only."""
    frame, device, frame_s = draw()
    if frame.std() == 0:
        raise SystemExit("the frame came back empty")
    print(json.dumps({"device": device, "frame_s": frame_s}))


if __name__ == "__main__":
    main()
