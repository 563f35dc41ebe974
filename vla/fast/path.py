"""A policy's inference, prepared: observations in host memory to action chunks in host memory.

What the sizes of pictures, the number of rows and the instructions decide is worked out once and kept: layouts, tables
of positions, masks, embedded words and, on a GPU, the CUDA graph of the whole forward pass, from bytes to actions. The
only wait for the GPU is for its last result.

Letters in shapes: B batch, k cameras, H/W pixels, S state, C chunk, A action.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import torch

from vst_vla.vla.contracts import STATE_KEY, TASK_KEY, Array, Observation
from vst_vla.vla.fast.forward import PreparedForward
from vst_vla.vla.fast.graphs import CapturedForward, Inputs
from vst_vla.vla.fast.pixels import Filters, Sizes, make_filters
from vst_vla.vla.fast.recent import Recent
from vst_vla.vla.fast.rows import Rows
from vst_vla.vla.heads.euler import Beginning, Inpainting
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel

log = logging.getLogger(__name__)

KEPT_ROWS = 64
"""Batches of instructions that are kept."""
KEPT_GRAPHS = 16
"""CUDA graphs that are kept: each has memory of its own for activations."""
KEPT_SIZES = 64
"""Combinations of picture sizes that count as known."""
GPU_BATCHES = (1, 2, 4, 8, 16)
"""Batches that a GPU has graphs for; others are filled up, those beyond to a multiple of the last."""
GPU_LENGTH = 16
"""Prompts are padded to a multiple of so many tokens on a GPU: few lengths, few graphs."""


class FastPath:
    """`VLAModel.predict` for acting, on the weights as they are when this is made.

    Results equal the plain path's to rounding: the order of some sums differs (about 1e-6 in float32). The model's
    layers get their weights as views of larger matrices.

    Args:
        model: a policy as `VLAModel.load` returns it.
        pipeline: its own.
    """

    def __init__(self, model: VLAModel, *, pipeline: InferencePipeline) -> None:
        assert model.head is not None
        self._model, self._pipeline, self._head = model, pipeline, model.head
        self._device, self._on_gpu = model.device, model.device.type == "cuda"
        self._forward = PreparedForward(model, collator=pipeline.collator)
        self._sizes: Recent[Sizes, tuple[Filters, ...] | None] = Recent(KEPT_SIZES)
        self._rows: Recent[tuple[str, ...], Rows] = Recent(KEPT_ROWS)
        self._graphs: Recent[tuple[int, int, Sizes], CapturedForward] = Recent(KEPT_GRAPHS)

    def predict(self, observations: Sequence[Observation]) -> torch.Tensor:
        """Normalised chunks (B,C,A) float32 in host memory.

        Pictures of a size that is not known are answered by the plain path, once; the first size of all is known.
        Batches whose rows have pictures of different sizes always take the plain path.

        Raises:
            ValueError: for an observation that lacks a key or has a picture or state of another form.
        """
        self._pipeline.check(observations)
        sizes = self._sizes_of(observations)
        if sizes is None or not self._meets(sizes):
            return self._plainly(observations)
        beginnings = self._pipeline.beginnings(observations)
        if beginnings is not None:
            return self._continued(observations, beginnings, sizes=sizes)
        inputs = self._inputs(observations, batch=self._batch(len(observations)))
        with torch.inference_mode():
            return self._run(inputs, sizes=sizes)[: len(observations)].cpu()

    def _plainly(self, observations: Sequence[Observation]) -> torch.Tensor:
        batch = self._pipeline.inputs(observations)
        with torch.inference_mode("begin" not in batch):  # a given beginning is met by gradients
            return self._model.predict(batch).cpu()

    @torch.no_grad()  # and not inference_mode, for the same reason
    def _continued(self, observations: Sequence[Observation], begin: Beginning, *, sizes: Sizes) -> torch.Tensor:
        inputs = self._moved(self._inputs(observations, batch=len(observations)))
        prompts = self._forward.prompts(inputs, filters=self._filters(sizes))
        return cast(Inpainting, self._head).predict(prompts, begin=begin.to(self._device)).cpu()

    def _run(self, inputs: Inputs, *, sizes: Sizes) -> torch.Tensor:
        forward = partial(self._forward, filters=self._filters(sizes))
        if not self._on_gpu or self._head.waits:
            return forward(self._moved(inputs))
        key = (*inputs.rows.is_real.shape, sizes)
        return self._graphs.get(key, lambda: CapturedForward(forward, inputs, device=self._device))(inputs)

    def _inputs(self, observations: Sequence[Observation], *, batch: int) -> Inputs:
        """Pictures and states on the host, rows on the device; the last rows up to `batch` repeat the first."""
        samples = self._pipeline.samples(observations, crop=not self._on_gpu)
        samples += samples[:1] * (batch - len(samples))
        spec = self._pipeline.spec
        pictures = tuple(self._on_host([sample[key] for sample in samples]) for key in spec.picture_keys)
        state = None if spec.state is None else self._on_host([sample[STATE_KEY] for sample in samples])
        return Inputs(rows=self._rows_of([sample[TASK_KEY] for sample in samples]), pictures=pictures, state=state)

    def _rows_of(self, tasks: Sequence[str]) -> Rows:
        multiple = GPU_LENGTH if self._on_gpu else 1
        return self._rows.get(tuple(tasks), lambda: self._forward.rows(tasks, multiple=multiple))

    def _on_host(self, values: Sequence[Array]) -> torch.Tensor:
        """One tensor; with a GPU, in memory that it copies from by itself."""
        tensor = torch.from_numpy(np.stack(values))
        return tensor.pin_memory() if self._on_gpu else tensor

    def _moved(self, inputs: Inputs) -> Inputs:
        state = None if inputs.state is None else inputs.state.to(self._device)
        return Inputs(rows=inputs.rows, pictures=tuple(p.to(self._device) for p in inputs.pictures), state=state)

    def _batch(self, count: int) -> int:
        return gpu_batch(count) if self._on_gpu else count

    def _sizes_of(self, observations: Sequence[Observation]) -> Sizes | None:
        """The pictures' sizes, None where rows differ."""
        keys = self._pipeline.spec.picture_keys
        found = {tuple(observation[key].shape[:2] for key in keys) for observation in observations}
        return found.pop() if len(found) == 1 else None

    def _meets(self, sizes: Sizes) -> bool:
        """Whether these sizes are known; from now on they are."""
        known = sizes in self._sizes or not len(self._sizes)
        if not known:
            named = ", ".join(f"{height}x{width}" for height, width in sizes)
            log.warning("pictures of %s px are new here: this once the plain path answers, then the fast one", named)
        self._filters(sizes)
        return known

    def _filters(self, sizes: Sizes) -> tuple[Filters, ...] | None:
        """What cuts the pictures on a GPU; on the CPU that is the pipeline's part."""
        crop = self._pipeline.crop
        return self._sizes.get(sizes, lambda: make_filters(crop, sizes, device=self._device) if self._on_gpu else None)


def gpu_batch(count: int) -> int:
    """The batch that so many rows are filled up to, see `GPU_BATCHES`."""
    largest = GPU_BATCHES[-1]
    return next((size for size in GPU_BATCHES if size >= count), -(-count // largest) * largest)
