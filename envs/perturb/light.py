"""The light axis: lamps moved and tilted, brighter or dimmer, warmer or colder, with more or less fill light.

The tint is that of a black body: Planck's law at 600, 550 and 450 nm, relative to daylight at 6500 K, gamma-encoded
because MuJoCo shades in the display's values. Colour temperatures are drawn evenly in mired (10^6 / K), in which equal
steps look about equal.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import mujoco
import numpy as np

from vst_vla.envs.geometry import rotation_about
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

DAYLIGHT = 6500.0  # K
MIRED = (-60.0, 180.0)  # colder and warmer than daylight at full strength: 10,600 K to 3,000 K
BRIGHTNESS = (-0.7, 0.4)  # natural logarithm of the factor on the lamps at full strength: 0.5 to 1.5
FILL = (-0.7, 0.7)  # the same for the light that comes from nowhere
MAX_SHIFT = 1.5  # m, level
MAX_TILT = math.radians(30)
_GAMMA = 2.2
_WAVELENGTHS = np.array([600e-9, 550e-9, 450e-9])  # m, of red, green and blue
_SECOND_RADIATION = 1.438777e-2  # m K, Planck's c2 = h c / k


def vary_light(simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack) -> dict[str, Any]:
    """An `Axis`. The description holds the colour temperature (K), the factors, and each lamp's place and direction."""
    model = simulator.sim.model._model
    undo.callback(_put, simulator, _read(model))
    kelvin = 1e6 / (1e6 / DAYLIGHT + strength * rng.uniform(*MIRED))
    lamps, fill = np.exp(strength * rng.uniform([BRIGHTNESS[0], FILL[0]], [BRIGHTNESS[1], FILL[1]]))
    now = _read(model)
    colours = ("light_diffuse", "light_specular", "head_diffuse", "head_specular")
    for name in colours:
        now[name] = np.clip(now[name] * lamps * tint(kelvin), 0.0, 1.0)
    for name in ("light_ambient", "head_ambient"):
        now[name] = np.clip(now[name] * fill * tint(kelvin), 0.0, 1.0)
    for number in range(model.nlight):
        now["light_pos"][number, :2] += strength * rng.uniform(-MAX_SHIFT, MAX_SHIFT, size=2)
        now["light_dir"][number] = _tilted(now["light_dir"][number], strength, rng)
    _put(simulator, now)
    return {
        "temperature_k": kelvin,
        "lamp_factor": float(lamps),
        "fill_factor": float(fill),
        "positions": now["light_pos"].tolist(),
        "directions": now["light_dir"].tolist(),
    }


def tint(kelvin: float) -> Array:
    """Red, green and blue (3,) of a black body relative to daylight, with a mean of 1."""
    x = _SECOND_RADIATION / _WAVELENGTHS
    colour = (np.expm1(x / DAYLIGHT) / np.expm1(x / kelvin)) ** (1 / _GAMMA)
    return np.asarray(colour / colour.mean())


def _tilted(direction: Array, strength: float, rng: np.random.Generator) -> Array:
    """The direction (3,) turned about a random level axis."""
    heading, angle = rng.uniform(0, 2 * np.pi), strength * rng.uniform(0, MAX_TILT)
    return rotation_about(np.array([np.cos(heading), np.sin(heading), 0.0]), angle=angle) @ direction


def _read(model: Any) -> dict[str, Array]:
    """Everything that this axis changes, copied."""
    names = ("light_pos", "light_dir", "light_diffuse", "light_specular", "light_ambient")
    lamps = {name: getattr(model, name).copy() for name in names}
    head = {f"head_{name}": getattr(model.vis.headlight, name).copy() for name in ("diffuse", "specular", "ambient")}
    return lamps | head


def _put(simulator: Simulator, values: dict[str, Array]) -> None:
    """Sets them; the physics does not notice."""
    model, data = simulator.sim.model._model, simulator.sim.data._data
    for name, value in values.items():
        owner, field = (model.vis.headlight, name.removeprefix("head_")) if name.startswith("head_") else (model, name)
        getattr(owner, field)[:] = value
    mujoco.mj_camlight(model, data)
