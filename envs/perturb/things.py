"""What a settled scene holds and what stands on what: the ground that goals and sentences are made on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from vst_vla.envs.objects import in_words
from vst_vla.envs.perturb.solids import Solid, read_solids
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

ON_SURFACE = 0.012
"""m between an object's underside and the lowest one of the scene, below which it stands on the work surface."""

_SPOKEN = MappingProxyType(
    {
        "akita black bowl": "black bowl",
        "glazed rim porcelain ramekin": "ramekin",
        "porcelain mug": "white mug",
        "white yellow mug": "yellow and white mug",
        "red coffee mug": "red mug",
        "chefmate 8 frypan": "frying pan",
        "black book": "book",
        "yellow book": "book",
        "new salad dressing": "salad dressing",
        "wooden cabinet": "cabinet",
        "white cabinet": "cabinet",
        "flat stove": "stove",
        "wine rack": "rack",
        "desk caddy": "caddy",
        "wooden tray": "tray",
        "wooden two layer shelf": "shelf",
    }
)
"""LIBERO's sentences call these kinds otherwise than its files do."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object or fixture as far as sentences are concerned."""

    name: str  # instance, such as "akita_black_bowl_1"
    kind: str  # "akita black bowl"
    x: float  # m, world; grows away from the robot
    y: float  # m, world; grows to the right as LIBERO's sentences have it
    radius: float  # m, mean of the horizontal half extents
    fixture: bool
    support: str = ""  # object, region or fixture that carries it; "" for the work surface

    @property
    def spoken(self) -> str:
        """Its kind in the words of LIBERO's sentences."""
        return _SPOKEN.get(self.kind, in_words(self.kind))


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of an object or fixture that goals name, such as a drawer."""

    name: str
    owner: str  # instance
    joints: tuple[str, ...]  # of a drawer or a door

    @property
    def part(self) -> str:
        """The name without its owner: "top_region"."""
        return self.name.removeprefix(f"{self.owner}_")


def read_things(simulator: Simulator) -> dict[str, Thing]:
    """Everything that stands in the scene now, by instance name."""
    data, solids = simulator.sim.data._data, read_solids(simulator)
    corners = {s.name: s.corners(data) for s in solids}
    bottoms = {s.name: float(corners[s.name][:, 2].min()) for s in solids if not s.fixture}
    surface = min(bottoms.values(), default=0.0)
    return {
        s.name: _thing(
            s,
            corners[s.name],
            support=_support(simulator, s, solids) if bottoms.get(s.name, surface) > surface + ON_SURFACE else "",
        )
        for s in solids
    }


def read_regions(simulator: Simulator) -> dict[str, Region]:
    """The regions of objects and fixtures by name; patches of the work surface are none."""
    sites: Mapping[str, Any] = simulator.problem.object_sites_dict
    return {
        name: Region(name=name, owner=site.parent_name, joints=tuple(site.joints or ()))
        for name, site in sites.items()
        if site.parent_name is not None
    }


def _thing(solid: Solid, corners: Array, *, support: str) -> Thing:
    low, high = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
    x, y = (low + high) / 2
    return Thing(
        name=solid.name,
        kind=solid.kind,
        x=float(x),
        y=float(y),
        radius=float((high - low).mean() / 2),
        fixture=solid.fixture,
        support=support,
    )


def _support(simulator: Simulator, item: Solid, solids: Sequence[Solid]) -> str:
    """The region that it is on or in, else the highest lower thing that it touches, else ""."""
    for region in read_regions(simulator).values():
        inside = bool(region.joints) or "contain" in region.part
        if region.owner != item.name and simulator.holds(("in" if inside else "on", item.name, region.name)):
            return region.name
    data = simulator.sim.data._data
    heights = {s.name: float(data.xpos[s.root][2]) for s in solids}
    below = [s.name for s in solids if heights[s.name] < heights[item.name] and _touch(data, item, s)]
    return max(below, key=heights.__getitem__, default="")


def _touch(data: Any, first: Solid, second: Solid) -> bool:
    pairs = np.asarray(data.contact.geom)
    a, b = pairs[:, 0], pairs[:, 1]
    return bool(((first.geoms[a] & second.geoms[b]) | (second.geoms[a] & first.geoms[b])).any())
