"""Floors and walls under the names of hf-libero's styles: small RGB pictures, (H,W,3) uint8, from few numbers."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image

from vst_vla.vla.contracts import Array

SIDE = 256

PLANKS = {
    "light-gray-floor-tile": (140, 124, 112),
    "rustic_floor": (120, 84, 54),
    "seamless_wood_planks_floor": (160, 118, 76),
}
TILES = {
    "dark_floor_texture": (62, 60, 60),
    "white_marble_floor": (214, 212, 208),
    "brown_ceramic_tile": (138, 96, 70),
    "gray_ceramic_tile": (140, 142, 144),
    "tile_grigia_caldera_porcelain_floor": (158, 152, 146),
}
PLASTERS = {
    "light_blue_wall": (158, 190, 214),
    "dark_blue_wall": (48, 68, 104),
    "dark_gray_plaster": (86, 86, 88),
    "gray_plaster": (134, 134, 134),
    "dark_green_plaster_wall": (52, 82, 62),
    "light-gray-plaster": (190, 190, 186),
    "ceramic": (206, 204, 198),
    "white_wall": (226, 226, 222),
    "yellow_linen_wall_texture": (212, 190, 128),
}


def texture_files() -> dict[str, bytes]:
    """PNG files by name. The same bytes each time."""
    drawn = {name: _planks(_noise(name), colour).swapaxes(0, 1) for name, colour in PLANKS.items()}
    drawn |= {name: _tiles(_noise(name), colour) for name, colour in TILES.items()}
    drawn |= {name: _plaster(_noise(name), colour) for name, colour in PLASTERS.items()}
    return {f"{name}.png": _png(picture) for name, picture in drawn.items()}


def _planks(noise: np.random.Generator, colour: tuple[int, int, int]) -> Array:
    """Boards along the picture's height, each with its own tone and grain, a pale joint between them."""
    boards = 4
    width = SIDE // boards
    tone = np.repeat(noise.normal(1.0, 0.06, boards), width)[None, :]
    grain = _smooth(noise.normal(size=(SIDE, SIDE)), steps=24, axis=0) * 0.35
    picture = _shade(colour, tone + grain)
    picture[:, ::width] = picture[:, ::width] * 0.4 + 140
    for board in range(boards):
        row = (board * 5 % 8) * SIDE // 8
        picture[row, board * width : (board + 1) * width] = picture[row, board * width] * 0.4 + 140
    return picture


def _tiles(noise: np.random.Generator, colour: tuple[int, int, int]) -> Array:
    """Two by two square tiles with a joint darker than they are."""
    side = SIDE // 2
    tone = np.kron(noise.normal(1.0, 0.03, (2, 2)), np.ones((side, side)))
    picture = _shade(colour, tone + 0.03 * noise.normal(size=(SIDE, SIDE)))
    for joint in (0, 1, side, side + 1):
        picture[joint], picture[:, joint] = picture[joint] * 0.7, picture[:, joint] * 0.7
    return picture


def _plaster(noise: np.random.Generator, colour: tuple[int, int, int]) -> Array:
    grain = _smooth(noise.normal(size=(SIDE, SIDE)), steps=2, axis=0)
    return _shade(colour, 1.0 + 0.05 * _smooth(grain, steps=2, axis=1))


def _shade(colour: tuple[int, int, int], tone: Array) -> Array:
    return np.broadcast_to(tone, (SIDE, SIDE))[..., None] * np.asarray(colour, float)


def _smooth(picture: Array, *, steps: int, axis: int) -> Array:
    """Running mean over `steps` neighbours that wraps around, so that repeated textures show no seam."""
    return np.mean([np.roll(picture, k, axis=axis) for k in range(steps)], axis=0)


def _noise(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _png(picture: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
