"""The background axis: other colours and patterns for floor, walls and furniture. Objects and robot keep theirs.

What belongs to the background is what the scene holds besides them. A texture is mixed with a pattern of two colours,
drawn for it: plain, checks, stripes or speckles; a surface without one gets another colour. At full strength nothing of
the old look remains.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import mujoco
import numpy as np

from vst_vla.envs.perturb.solids import read_solids
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

COLOUR = int(mujoco.mjtTextureRole.mjTEXROLE_RGB)
PATTERNS: dict[str, Callable[[Array, Array, np.random.Generator], Array]] = {
    "plain": lambda rows, columns, rng: np.zeros_like(rows, bool),
    "checks": lambda rows, columns, rng: (rows * _count(rng)).astype(int) % 2 != (columns * 8).astype(int) % 2,
    "stripes": lambda rows, columns, rng: (rows * _count(rng)).astype(int) % 2 == 0,
    "speckles": lambda rows, columns, rng: rng.random(rows.shape) < 0.3,
}
"""Places (H, W) from 0 to 1, downwards and to the right -> where the second colour is."""


def vary_background(
    simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack
) -> dict[str, Any]:
    """An `Axis`. The description holds each surface's pattern and colours (0 to 1)."""
    model = simulator.sim.model._model
    surfaces = {}
    for material in _materials(simulator):
        texture = int(model.mat_texid[material][COLOUR])
        name = model.material(material).name
        if texture < 0:
            surfaces[name] = _paint(model, material, strength=strength, rng=rng, undo=undo)
        elif _is_own(model, texture, _materials(simulator)):
            surfaces[name] = _paper(simulator, texture, strength=strength, rng=rng, undo=undo)
    return {"surfaces": surfaces}


def _materials(simulator: Simulator) -> list[int]:
    """Those of the background, none of which anything else wears."""
    model = simulator.sim.model._model
    taken = {body for solid in read_solids(simulator) for body in (solid.root,)}
    taken.add(int(model.body("robot0_base").rootid[0]))
    roots = model.body_rootid[model.geom_bodyid]
    worn = model.geom_matid >= 0
    inside = np.isin(roots, sorted(taken))
    return sorted(set(model.geom_matid[worn & ~inside].tolist()) - set(model.geom_matid[worn & inside].tolist()))


def _is_own(model: Any, texture: int, materials: list[int]) -> bool:
    """Whether only these materials show the texture."""
    return set(np.flatnonzero((model.mat_texid == texture).any(axis=1)).tolist()) <= set(materials)


def _paint(model: Any, material: int, *, strength: float, rng: np.random.Generator, undo: ExitStack) -> dict[str, Any]:
    before, colour = model.mat_rgba[material].copy(), rng.uniform(0.1, 0.9, 3)
    undo.callback(model.mat_rgba.__setitem__, material, before)
    model.mat_rgba[material, :3] = (1 - strength) * before[:3] + strength * colour
    return {"pattern": "plain", "colours": [colour.round(3).tolist()]}


def _paper(
    simulator: Simulator, texture: int, *, strength: float, rng: np.random.Generator, undo: ExitStack
) -> dict[str, Any]:
    model = simulator.sim.model._model
    height, width, channels = model.tex_height[texture], model.tex_width[texture], model.tex_nchannel[texture]
    pattern = list(PATTERNS)[int(rng.integers(len(PATTERNS)))]
    colours = rng.uniform(0.1, 0.9, (2, 3))
    rows, columns = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    drawn = 255 * colours[PATTERNS[pattern](rows, columns, rng).astype(int)]
    start = model.tex_adr[texture]
    place = slice(start, start + height * width * channels)
    before = model.tex_data[place].copy()
    mixed = before.reshape(height, width, channels).astype(np.float64)
    mixed[..., :3] = (1 - strength) * mixed[..., :3] + strength * drawn[..., : min(3, channels)]
    undo.callback(_show, simulator, texture, place, before)
    _show(simulator, texture, place, mixed.round().astype(np.uint8).ravel())
    return {"pattern": pattern, "colours": colours.round(3).tolist()}


def _show(simulator: Simulator, texture: int, place: slice, values: Array) -> None:
    """Sets a texture, also in the graphics memory once there is one."""
    model = simulator.sim.model._model
    model.tex_data[place] = values
    simulator.upload_texture(texture)


def _count(rng: np.random.Generator) -> int:
    return int(rng.integers(4, 16))
