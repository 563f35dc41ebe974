"""What the expert can do, one file a skill. A skill reads the simulator each step and never commands it directly."""

from __future__ import annotations

from typing import Protocol

from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array


class Skill(Protocol):
    """One sub-goal being pursued, closed loop."""

    @property
    def noise_scale(self) -> float:
        """How much exploration noise the present phase bears, in action units of one standard deviation."""
        ...

    @property
    def attempts(self) -> int:
        """How often it was tried so far."""
        ...

    @property
    def busy(self) -> bool:
        """Whether the hand is still at the thing, sub-goal reached or not; nothing else begins before it is free."""
        ...

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,)."""
        ...
