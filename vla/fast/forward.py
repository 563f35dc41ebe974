"""One prepared forward pass, from the bytes of pictures to normalised actions, on one device.

Letters in shapes: B batch, k cameras, H/W pixels of a camera's picture, S state, C chunk, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from vst_vla.vla.data.collate import Collator
from vst_vla.vla.fast.flow import PreparedFlow
from vst_vla.vla.fast.graphs import Inputs
from vst_vla.vla.fast.pixels import Filters, Patches, cut
from vst_vla.vla.fast.prompts import Language, PreparedPrompts
from vst_vla.vla.fast.rows import Rows, make_rows
from vst_vla.vla.fast.tower import Tower
from vst_vla.vla.heads.base import ActingPrompts
from vst_vla.vla.heads.flow import FlowHead
from vst_vla.vla.model import VLAModel


class PreparedForward:
    """A policy's weights, and what its picture size decides.

    Args:
        model: a policy on its device; its layers get their weights as views of larger matrices (`layers.fused`).
        collator: of the model.
    """

    def __init__(self, model: VLAModel, *, collator: Collator) -> None:
        assert model.spec is not None
        assert model.head is not None
        self._model, self._collator, self._head = model, collator, model.head
        self._patches = Patches(model.processor, device=model.device)
        self._tower, self._language = Tower(model.vlm.model.visual), Language(model.vlm)
        side = model.spec.image_size // int(model.config.vision_config.patch_size)
        self._grid = (1, side, side)
        with torch.no_grad():
            self._view = self._tower.look(self._grid)
        self._act: Callable[[ActingPrompts], torch.Tensor] = self._head.predict
        if isinstance(self._head, FlowHead):
            self._act = PreparedFlow(self._head)

    def __call__(self, inputs: Inputs, *, filters: Sequence[Filters] | None = None) -> torch.Tensor:
        """Normalised actions (B,C,A) float32. `filters`, one a camera, cut pictures that are not cut yet."""
        return self._act(self.prompts(inputs, filters=filters))

    def prompts(self, inputs: Inputs, *, filters: Sequence[Filters] | None = None) -> PreparedPrompts:
        """The prompts with their pictures in place."""
        rows, pictures = inputs.rows, inputs.pictures
        if filters is not None:
            pictures = tuple(cut(part, by=by) for part, by in zip(pictures, filters, strict=True))
        flat = torch.stack(pictures, dim=1).flatten(0, 1)  # (B*k,S,S,3)
        visual = self._tower(self._patches(flat, self._view), self._view).flatten(0, 1)
        if rows.cameras is not None:
            visual = visual + rows.cameras
        embeds = rows.embeds.flatten(0, 1).index_copy(0, rows.visual, visual.to(rows.embeds.dtype))
        return PreparedPrompts(
            language=self._language, rows=rows, embeds=embeds.view_as(rows.embeds), state=inputs.state
        )

    def rows(self, tasks: Sequence[str], *, multiple: int) -> Rows:
        """What is known of B instructions before their pictures; prompts are padded to a multiple of so many tokens."""
        return make_rows(
            self._model,
            tasks,
            collator=self._collator,
            grid=self._grid,
            view=self._view,
            multiple=multiple,
            num_after=2 * self._head.chunk * self._head.action_dim,  # as many words as head fast may write
        )
