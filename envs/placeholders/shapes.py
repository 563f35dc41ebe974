"""What placeholders are made of: coloured primitives, and the few shapes of packaging that are stacked from them.

Everything here is upright: x width, y depth (the front is -y), z up, origin at the object's own. Metres, kilograms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

Rgb = tuple[float, float, float]
Xyz = tuple[float, float, float]

LABEL_M = 0.0004
"""How far a label stands out of what it is stuck on, enough not to flicker at 128 px."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One primitive. `size` as MJCF has it: half extents of a box or ellipsoid, (radius, half height) of a cylinder."""

    shape: str
    size: tuple[float, ...]
    at: Xyz = (0.0, 0.0, 0.0)
    colour: Rgb = (0.8, 0.8, 0.8)
    turn: Xyz = (0.0, 0.0, 0.0)
    """Rotation vector, degrees."""

    @property
    def volume(self) -> float:
        """m^3."""
        if self.shape == "box":
            return 8 * math.prod(self.size)
        if self.shape == "cylinder":
            return math.pi * self.size[0] ** 2 * 2 * self.size[1]
        assert self.shape == "ellipsoid", self.shape
        return 4 / 3 * math.pi * math.prod(self.size)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object of the suite: `body` is what collides and weighs, `look` is what is drawn.

    `up` is the axis of LIBERO's own object frame that points up when the object stands ("y" or "z"); the three last
    numbers are LIBERO's placement sites, which say where the sampler puts the object, not how large it is.
    """

    name: str
    folder: str
    up: str
    mass: float
    body: tuple[Part, ...]
    look: tuple[Part, ...]
    bottom_site: float
    top_site: float
    radius_site: float
    contain: tuple[Xyz, Xyz] | None = None
    """Centre and half extents of the region inside, for a container."""


def box(size: Xyz, at: Xyz = (0.0, 0.0, 0.0), colour: Rgb = (0.8, 0.8, 0.8), *, turn: Xyz = (0.0, 0.0, 0.0)) -> Part:
    """A box of half extents `size`."""
    return Part(shape="box", size=size, at=at, colour=colour, turn=turn)


def ellipsoid(size: Xyz, at: Xyz, colour: Rgb) -> Part:
    """An ellipsoid of half axes `size`."""
    return Part(shape="ellipsoid", size=size, at=at, colour=colour)


def disc(radius: float, low: float, high: float, colour: Rgb, *, x: float = 0.0) -> Part:
    """An upright cylinder from height `low` to `high`."""
    return Part(shape="cylinder", size=(radius, (high - low) / 2), at=(x, 0.0, (low + high) / 2), colour=colour)


def stick_on(part: Part) -> tuple[Part, ...]:
    """`part` on the front and, mirrored, on the back."""
    return part, replace(part, at=(part.at[0], -part.at[1], part.at[2]))


def can_body(radius: float, half_height: float) -> tuple[Part, ...]:
    """An octagonal prism out of four boxes: its flat sides give a parallel gripper an area to hold, not a point."""
    half_side = radius * math.tan(math.pi / 8)
    return tuple(box((radius, half_side, half_height), turn=(0.0, 0.0, 45.0 * k)) for k in range(4))


def can_look(radius: float, half_height: float, *, top: Rgb, bottom: Rgb, split: float, dots: Rgb) -> tuple[Part, ...]:
    """A tin can with a two-coloured label parted at height `split` and a ring of dots on its lower half."""
    steel, rim = (0.62, 0.63, 0.66), 0.005
    low, high = -half_height + rim, half_height - rim
    middle = (low + split) / 2
    across = radius - 0.003
    ring = [math.radians(36 * k) for k in range(10)]
    return (
        disc(radius - LABEL_M, -half_height, half_height, steel),
        disc(radius * 0.85, half_height, half_height + LABEL_M, (0.42, 0.43, 0.46)),
        disc(radius, split, high, top),
        disc(radius, low, split, bottom),
        *(ellipsoid((0.004, 0.004, 0.006), (across * math.cos(a), across * math.sin(a), middle), dots) for a in ring),
    )  # fmt: skip


def bottle_body(half: Xyz, *, shoulder: float, cap: float, cap_radius: float) -> tuple[Part, ...]:
    """A flat bottle out of three boxes: body up to height `shoulder`, neck up to `cap`, cap up to the top."""
    return (
        _slab((half[0], half[1]), -half[2], shoulder),
        _slab((0.6 * half[0], 0.85 * half[1]), shoulder, cap),
        _slab((cap_radius, min(cap_radius, half[1])), cap, half[2]),
    )


def bottle_look(
    half: Xyz, *, shoulder: float, cap: float, cap_radius: float, glass: Rgb, lid: Rgb, label: Rgb, dot: Rgb
) -> tuple[Part, ...]:
    """A flat bottle with rounded sides and shoulders, a cap, and a label with a dot on front and back."""
    width, depth, height = half
    side = width - depth
    return (
        _slab((side, depth), -height, shoulder, glass),
        disc(depth, -height, shoulder, glass, x=side),
        disc(depth, -height, shoulder, glass, x=-side),
        ellipsoid((width, depth, cap - shoulder), (0.0, 0.0, shoulder), glass),
        disc(0.8 * cap_radius, shoulder, cap, glass),
        disc(cap_radius, cap, height, lid),
        *_label(half, shoulder=shoulder, label=label, dot=dot),
    )


def carton_body(half: Xyz, *, eaves: float) -> tuple[Part, ...]:
    """A gable-top carton: a box up to height `eaves`, and on it a roof whose ridge runs along x."""
    return _slab((half[0], half[1]), -half[2], eaves), _gable(half, eaves)


def carton_look(half: Xyz, *, eaves: float, walls: Rgb, roof: Rgb, band: Rgb, disc_colour: Rgb) -> tuple[Part, ...]:
    """A gable-top carton with a band below the roof and a disc on each of its four sides."""
    width, depth, height = half
    band_low = eaves - 0.024
    out = LABEL_M
    flat = (0.017, 2 * LABEL_M)
    middle = (band_low - height) / 2
    return (
        _slab((width, depth), -height, eaves, walls),
        _slab((width + out, depth + out), band_low, eaves, band),
        _gable(half, eaves, roof),
        _slab((width, 0.002), eaves + depth - 0.004, height, roof),
        *(Part(shape="cylinder", size=flat, at=(0.0, y, middle), colour=disc_colour, turn=(90.0, 0.0, 0.0))
          for y in (-depth, depth)),
        *(Part(shape="cylinder", size=flat, at=(x, 0.0, middle), colour=disc_colour, turn=(0.0, 90.0, 0.0))
          for x in (-width, width)),
    )  # fmt: skip


def _label(half: Xyz, *, shoulder: float, label: Rgb, dot: Rgb) -> tuple[Part, ...]:
    """A paper with a dot on the flat of a bottle's front and back."""
    width, depth, height = half
    middle = (shoulder - height) / 2
    paper = box((width - depth, LABEL_M, 0.38 * (shoulder + height)), (0.0, -depth, middle), label)
    spot = ellipsoid((0.007, 3 * LABEL_M, 0.009), (0.0, -depth, middle - 0.005), dot)
    return *stick_on(paper), *stick_on(spot)


def _slab(half: tuple[float, float], low: float, high: float, colour: Rgb = (0.8, 0.8, 0.8)) -> Part:
    return box((half[0], half[1], (high - low) / 2), (0.0, 0.0, (low + high) / 2), colour)


def _gable(half: Xyz, eaves: float, colour: Rgb = (0.8, 0.8, 0.8)) -> Part:
    """A square bar on its edge: its upper half is the roof, its lower half is hidden in the carton."""
    side = half[1] / math.sqrt(2)
    return box((half[0] - LABEL_M, side, side), (0.0, 0.0, eaves), colour, turn=(45.0, 0.0, 0.0))
