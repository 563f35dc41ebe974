"""From observations to a model's batch and back to physical actions: the transforms of training, run for acting.

Letters: B batch, C chunk, A action.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vst_vla.vla.contracts import COMMITTED_KEY, STATE_KEY, TASK_KEY, Array, Observation
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.heads.euler import Beginning
from vst_vla.vla.model import VLAModel
from vst_vla.vla.transforms import CropResize, Sample, action_normalizer, apply, build_transforms


class InferencePipeline:
    """Input and output side of one loaded policy.

    Args:
        model: a policy as `VLAModel.load` returns it.

    Attributes:
        spec: of the policy.
        collator: makes its batches.
        crop: what is done to pictures first.
        inpaints: whether chunks can continue committed actions.
    """

    def __init__(self, model: VLAModel) -> None:
        assert model.spec is not None
        assert model.norm_stats is not None
        assert model.head is not None
        self.spec = model.spec
        self._transforms = build_transforms(model.spec, stats=model.norm_stats)
        self._actions = action_normalizer(model.spec, stats=model.norm_stats)
        self.inpaints = model.head.inpaints
        slots = int(model.head.num_slots)
        self.collator = Collator(model.processor, image_keys=model.spec.picture_keys, num_slots=slots)
        (self.crop,) = (transform for transform in self._transforms if isinstance(transform, CropResize))

    def inputs(self, observations: Sequence[Observation]) -> Batch:
        """B observations -> a robot batch.

        Raises:
            ValueError: for an observation that lacks a key or has a picture or state of another form.
        """
        self.check(observations)
        batch = self.collator.robot(self.samples(observations))
        begin = self.beginnings(observations)
        return batch if begin is None else batch | {"begin": begin.actions, "begin_given": begin.given}

    def check(self, observations: Sequence[Observation]) -> None:
        """Raises ValueError for an observation that lacks a key or has a picture or state of another form."""
        for observation in observations:
            self._check(observation)

    def samples(self, observations: Sequence[Observation], *, crop: bool = True) -> list[Sample]:
        """Transformed observations; without `crop`, with their pictures as they came."""
        transforms = self._transforms if crop else [t for t in self._transforms if t is not self.crop]
        return [apply(transforms, observation) for observation in observations]

    def beginnings(self, observations: Sequence[Observation]) -> Beginning | None:
        """The committed actions, normalised (B,C,A), and which of them are given; None where nobody commits to any."""
        if not any(COMMITTED_KEY in observation for observation in observations):
            return None
        shape = (len(observations), self.spec.chunk)
        begin = torch.zeros(*shape, self.spec.action.dim)
        given = torch.zeros(shape, dtype=torch.bool)
        for row, observation in enumerate(observations):
            committed = np.asarray(observation.get(COMMITTED_KEY, ()), dtype=np.float32)[: self.spec.chunk]
            if len(committed):
                begin[row, : len(committed)] = torch.from_numpy(self._actions.normalize(committed))
                given[row, : len(committed)] = True
        return Beginning(actions=begin, given=given)

    def actions(self, normalised: torch.Tensor) -> list[Array]:
        """(B,C,A) normalised -> B chunks (C,A) float32 in physical units, inside the action spec's range."""
        physical = self._actions.denormalize(normalised.float().cpu()).numpy()
        return [self.spec.action.clip(chunk) for chunk in physical]

    def _check(self, observation: Observation) -> None:
        wanted = [*self.spec.picture_keys, TASK_KEY, *([STATE_KEY] if self.spec.state else [])]
        for key in wanted:
            if key not in observation:
                raise ValueError(
                    f"observation has no '{key}', expected {', '.join(wanted)}: found {', '.join(observation)}"
                )
        for key in self.spec.picture_keys:
            image = observation[key]
            if image.ndim != 3 or image.shape[2] != 3 or str(image.dtype) != "uint8":
                raise ValueError(f"'{key}' is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        if not str(observation[TASK_KEY]).strip():
            raise ValueError("the task is empty: say in words what the robot should do")
        if COMMITTED_KEY in observation:
            self._check_committed(np.asarray(observation[COMMITTED_KEY]))

    def _check_committed(self, committed: Array) -> None:
        if not self.inpaints:
            raise ValueError(f"this policy's head does not continue given actions: leave out '{COMMITTED_KEY}'")
        if committed.ndim != 2 or committed.shape[1] != self.spec.action.dim:
            expected = f"(D, {self.spec.action.dim})"
            raise ValueError(f"'{COMMITTED_KEY}' has the shape {committed.shape}, expected {expected}")
