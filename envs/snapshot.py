"""Moments of a simulated episode, kept to be drawn later: a few kilobytes each instead of a rendering pass.

Pictures drawn from a snapshot are those that would have been drawn at the time, to the bit. They are not drawn from the
simulator's state: after a control step MuJoCo's bodies lag one physics step behind its joints, so what the renderer
reads is kept as it is. Only within one episode: cameras, lights and colours of the model are not part of a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

_POSES = (
    "geom_xpos",
    "geom_xmat",
    "site_xpos",
    "site_xmat",
    "cam_xpos",
    "cam_xmat",
    "light_xpos",
    "light_xdir",
)
"""The arrays of MuJoCo's data that its renderer reads."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """What the renderer reads at one moment: world poses, and which sites show (LIBERO lights a stove's burner so)."""

    poses: dict[str, Array]
    site_rgba: Array


def take_snapshot(simulator: Simulator) -> Snapshot:
    """The present moment."""
    data, model = simulator.sim.data._data, simulator.sim.model._model
    return Snapshot(poses={name: np.array(getattr(data, name)) for name in _POSES}, site_rgba=np.array(model.site_rgba))


def draw_snapshots(
    simulator: Simulator, snapshots: Iterable[Snapshot], *, cameras: Sequence[str], size: int
) -> Iterator[list[Array]]:
    """Each snapshot's pictures, one (size, size, 3) uint8 a camera; at the end the scene is as it was.

    Args:
        simulator: the scene in which the snapshots were taken, not reset since.
        snapshots: moments of its episode.
        cameras: MuJoCo camera names.
        size: height and width in pixels.
    """
    for _ in show_snapshots(simulator, snapshots):
        yield [simulator.see(camera, size=size) for camera in cameras]


def show_snapshots(simulator: Simulator, snapshots: Iterable[Snapshot]) -> Iterator[None]:
    """Yields with the scene as each snapshot has it, to be drawn; at the end the scene is as it was."""
    present = take_snapshot(simulator)
    try:
        for snapshot in snapshots:
            _show(simulator, snapshot)
            yield
    finally:
        _show(simulator, present)


def _show(simulator: Simulator, snapshot: Snapshot) -> None:
    data = simulator.sim.data._data
    for name, values in snapshot.poses.items():
        getattr(data, name)[:] = values
    simulator.sim.model._model.site_rgba[:] = snapshot.site_rgba
