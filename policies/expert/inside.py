"""The expert as a policy to evaluate: it sits in the workers, where the ground truth is that it acts on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vst_vla.policies.expert.expert import Expert
from vst_vla.vla.contracts import LIBERO_ACTION, STILL_ACTION, ActionSpec, Array, Observation


class ExpertInside:
    """Has an `Expert` act in every episode, without noise; what it returns itself is not executed.

    Args:
        chunk: control steps between two reports of a worker.
    """

    action_spec: ActionSpec = LIBERO_ACTION
    insider = Expert

    def __init__(self, *, chunk: int = 8) -> None:
        self.chunk = chunk

    def infer(self, observation: Observation) -> dict[str, Array]:
        """{"actions": (C, A)} of no motion, a place holder for what the worker does."""
        return {"actions": np.tile(np.array(STILL_ACTION, np.float32), (self.chunk, 1))}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """`infer` on each."""
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        """Every episode has an expert of its own."""
