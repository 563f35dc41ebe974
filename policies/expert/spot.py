"""Where an object may come to lie so that LIBERO's `on` or `in` holds. Letters: N positions of the object's origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

Relation = Literal["in", "on"]
"""The predicates of BDDL that placing reaches."""
ON_OBJECT = 0.016  # m between two origins; LIBERO's `on` asks for less than 0.03
INSIDE = 0.8  # share of a region that is used
ON_REGION = (-0.005, 0.10)  # m above the region's upper face, as in LIBERO's SiteObject.under
BELOW_REGION = 0.01  # m, as in LIBERO's SiteObject.in_box
STEP = 0.008  # m between the positions that are tried
FARTHEST = 0.096  # m to either side of the middle


@dataclass(frozen=True, kw_only=True, eq=False)
class Spot:
    """What a goal's second argument asks of the first one's origin."""

    middle: Array  # (3,) m
    half: Array  # (3,) m; for `in` along the world's axes, else along those of `rotation`
    rotation: Array  # (3,3) as LIBERO applies it: to a difference of positions
    relation: Relation

    def positions(self, *, step: float = STEP) -> Array:
        """A grid (N,2) of horizontal positions, `step` m apart, that covers the spot."""
        reach = self.half[:2] if self.relation == "in" else np.abs(self.rotation[:, :2].T) @ self.half
        steps = (np.minimum(FARTHEST, reach) / step).astype(int)
        x, y = (step * np.arange(-n, n + 1) for n in steps)
        return np.asarray(self.middle[:2] + np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2))

    def holds(self, origins: Array) -> Array:
        """Whether the object is there (N,) when its origin is at `origins` (N,3)."""
        if self.relation == "in":
            apart = origins - self.middle
            low = self.half[2] + BELOW_REGION
            level = (np.abs(apart[:, :2]) < INSIDE * self.half[:2]).all(axis=1)
            return np.asarray(level & (apart[:, 2] > -low) & (apart[:, 2] < self.half[2]))
        apart = (origins - self.middle) @ self.rotation.T
        low, high = self.half[2] + np.array(ON_REGION)
        level = (np.abs(apart[:, :2]) < INSIDE * self.half[:2]).all(axis=1)
        return np.asarray(level & (apart[:, 2] > low) & (apart[:, 2] < high))


def spot_of(simulator: Simulator, target: str, *, relation: Relation) -> Spot:
    """The spot that a target, an object or a region, means at this moment."""
    site = simulator.problem.object_sites_dict.get(target)
    data = simulator.sim.data
    if site is None:
        middle = np.array(data.body_xpos[simulator.problem.obj_body_id[target]])
        half = np.array([ON_OBJECT, ON_OBJECT, np.inf])
        return Spot(middle=middle, half=half, rotation=np.eye(3), relation="in")
    rotation = np.array(data.get_site_xmat(target)).reshape(3, 3)
    half = np.abs(rotation @ site.size) if relation == "in" else np.array(site.size, dtype=float)
    return Spot(middle=np.array(data.get_site_xpos(target)), half=half, rotation=rotation, relation=relation)
