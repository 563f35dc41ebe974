"""System libraries that the simulator and its renderer load, and the Debian package that brings each of them."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

from vst_vla.vla.contracts import unknown_name

PACKAGES = {
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libEGL.so.1": "libegl1",
    "libOSMesa.so.8": "libosmesa6",
}
IMAGE_LIBRARIES = ("libGL.so.1", "libglib-2.0.so.0")
"""What robosuite's import of cv2 loads, whatever the renderer."""
RENDERER_LIBRARIES = {"egl": ("libEGL.so.1",), "osmesa": ("libOSMesa.so.8",), "glx": (), "glfw": ()}
DRIVER_COMMAND = "sudo apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"
"""Software EGL, for a machine whose libEGL finds no driver."""


def choose_renderer() -> str:
    """The renderer in use, in lower case: MUJOCO_GL when set, else egl, to which the variable is then set."""
    if sys.platform == "linux" and not os.environ.get("MUJOCO_GL"):
        os.environ["MUJOCO_GL"] = "egl"
    return os.environ.get("MUJOCO_GL", "").lower()


def missing_libraries(*, renderer: str) -> tuple[str, ...]:
    """The sonames, out of those that robosuite needs with `renderer`, that this machine cannot load."""
    if renderer not in RENDERER_LIBRARIES:
        raise unknown_name("MUJOCO_GL renderer", renderer, RENDERER_LIBRARIES)
    return tuple(name for name in (*RENDERER_LIBRARIES[renderer], *IMAGE_LIBRARIES) if not _loads(name))


def require_libraries() -> None:
    """Raises ValueError naming each missing library and the one command that installs them."""
    if sys.platform != "linux":
        raise ValueError(f"LIBERO's simulator needs Linux, this is {sys.platform}: use a Linux machine or container")
    missing = missing_libraries(renderer=choose_renderer())
    if missing:
        raise ValueError(f"missing {', '.join(missing)}: install with `{install_command(missing)}`")


@functools.cache
def require_display() -> None:
    """Raises ValueError when the renderer is egl and libEGL finds no driver that opens a display. Takes about 20 ms."""
    if choose_renderer() != "egl":
        return
    from mujoco.egl import create_initialized_egl_device_display

    if not create_initialized_egl_device_display():
        raise ValueError(f"EGL finds no graphics driver: install one with `{DRIVER_COMMAND}`, or set MUJOCO_GL=osmesa")


def install_command(sonames: tuple[str, ...]) -> str:
    """The apt command that brings `sonames`."""
    return "sudo apt-get install -y " + " ".join(PACKAGES[name] for name in sonames)


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True
