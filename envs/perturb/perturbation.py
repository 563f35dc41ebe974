"""What to change in an episode, as plain data that any process can be sent, and the change itself."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from vst_vla.envs.perturb.axis import Axis
from vst_vla.envs.perturb.background import vary_background
from vst_vla.envs.perturb.camera import vary_camera
from vst_vla.envs.perturb.goal import vary_goal
from vst_vla.envs.perturb.language import vary_language
from vst_vla.envs.perturb.layout import vary_layout
from vst_vla.envs.perturb.light import vary_light
from vst_vla.envs.perturb.noise import vary_noise
from vst_vla.envs.perturb.robot import vary_robot
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import unknown_name

AXES: dict[str, Axis] = {
    "goal": vary_goal,
    "layout": vary_layout,
    "robot": vary_robot,
    "camera": vary_camera,
    "light": vary_light,
    "background": vary_background,
    "noise": vary_noise,
    "language": vary_language,
}
"""In the order in which they are applied: the layout keeps clear what the goal needs, the arm what was laid out, and
words come last."""


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """How an episode differs from the official one.

    Args:
        axes: names out of `AXES`, in any order.
        seed: non-negative numbers that fix every draw; each axis draws from a stream of its own.
        strength: in (0, 1]; 1 is the widest.

    Raises:
        ValueError: for an unknown or repeated axis, or a strength out of range.
    """

    axes: tuple[str, ...]
    seed: tuple[int, ...]
    strength: float = 1.0

    def __post_init__(self) -> None:
        for axis in self.axes:
            if axis not in AXES:
                raise unknown_name("axis", axis, AXES)
        if len(set(self.axes)) != len(self.axes):
            raise ValueError(f"axes {list(self.axes)} name one twice: give each once")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength is {self.strength:g}, expected more than 0 and at most 1")


def perturb(simulator: Simulator, perturbation: Perturbation, *, undo: ExitStack) -> dict[str, dict[str, Any]]:
    """Applies every axis to a settled scene; closing `undo` takes back what a reset to a state leaves.

    Returns:
        What each axis did, by its name, in values that JSON can hold.

    Raises:
        CannotVary: when an axis cannot change this scene.
    """
    done = {}
    for name, axis in AXES.items():
        if name in perturbation.axes:
            rng = np.random.default_rng([*perturbation.seed, zlib.crc32(name.encode())])
            done[name] = axis(simulator, strength=perturbation.strength, rng=rng, undo=undo)
    return done
