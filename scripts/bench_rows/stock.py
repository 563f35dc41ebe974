"""The plain transformers path: Qwen2.5-VL's stock model and stock processor around one of our heads.

This is what a user gets who puts an action head onto `Qwen2_5_VLForConditionalGeneration` as it comes: pictures and
text through `Qwen2_5_VLProcessor`, the model's own vision tower, positions, masks and cache, PyTorch's attention.

Letters in shapes: B batch, L tokens, K slots, C chunk, A action.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature, Qwen2_5_VLForConditionalGeneration

from vst_vla.vla.contracts import STATE_KEY, TASK_KEY, Observation
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.memory import Memory, text_rotation
from vst_vla.vla.model import VLAModel
from vst_vla.vla.prompt import render, robot_messages


class StockPath:
    """`VLAModel.predict` of the same weights, by transformers alone.

    Args:
        model: the policy; its backbone is copied.
        pipeline: crops pictures and normalises states and actions.
    """

    def __init__(self, model: VLAModel, *, pipeline: InferencePipeline) -> None:
        self._model, self._pipeline = model, pipeline
        self._vlm: Qwen2_5_VLForConditionalGeneration = copy.deepcopy(model.vlm)
        self._vlm.set_attn_implementation("sdpa")

    @torch.inference_mode()
    def predict(self, observations: Sequence[Observation]) -> torch.Tensor:
        """Normalised chunks (B,C,A) in host memory, for observations under one instruction."""
        head, samples = self._model.head, self._pipeline.samples(observations)
        assert head is not None
        inputs = self._processed(samples).to(self._model.device)
        embeds, positions = self._embedded(inputs, num_slots=head.num_slots)
        state = torch.stack([torch.from_numpy(sample[STATE_KEY]) for sample in samples]).to(embeds.device)
        prompts: Any = StockPrompts(vlm=self._vlm, embeds=embeds, positions=positions, state=state)
        return head.predict(prompts).cpu()

    def _processed(self, samples: Sequence[dict[str, Any]]) -> BatchFeature:
        keys = self._pipeline.spec.picture_keys
        messages = [robot_messages(sample[TASK_KEY], num_images=len(keys)) for sample in samples]
        texts = ["".join(part.text for part in render(m, add_generation_prompt=True)) for m in messages]
        pictures = [[Image.fromarray(sample[key]) for key in keys] for sample in samples]
        return self._model.processor(
            text=texts, images=pictures, padding=True, return_tensors="pt", return_mm_token_type_ids=True
        )

    def _embedded(self, inputs: BatchFeature, *, num_slots: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts with empty slots behind them (B,L,D), and their positions (3,B,L)."""
        ids = torch.nn.functional.pad(inputs["input_ids"], (0, num_slots))
        kinds = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, num_slots))
        grids, mask = inputs["image_grid_thw"], torch.ones_like(ids)
        visual = self._vlm.get_image_features(inputs["pixel_values"], grids).pooler_output
        embeds = self._vlm.get_input_embeddings()(ids)
        image_mask, _ = self._vlm.model.get_placeholder_mask(
            ids, inputs_embeds=embeds, image_features=torch.cat(visual)
        )
        embeds = embeds.masked_scatter(image_mask, torch.cat(visual).to(embeds.dtype))
        positions, _ = self._vlm.model.get_rope_index(
            ids, mm_token_type_ids=kinds, image_grid_thw=grids, attention_mask=mask
        )
        return embeds, positions


@dataclass(frozen=True, kw_only=True, eq=False)
class StockPrompts:
    """Prompts of one length for a head."""

    vlm: Qwen2_5_VLForConditionalGeneration
    embeds: torch.Tensor  # (B,L,D)
    positions: torch.Tensor  # (3,B,L)
    state: torch.Tensor

    @property
    def batch_size(self) -> int:
        """B."""
        return len(self.embeds)

    def read(self, slots: torch.Tensor) -> torch.Tensor:
        """The last layer's states at the slots, (B,K,D)."""
        hidden: torch.Tensor = self._run(slots, use_cache=False).last_hidden_state
        return hidden[:, -slots.shape[1] :]

    def remember(self, slots: torch.Tensor, *, num_after: int) -> Memory:
        """What the model's cache has of every layer."""
        layers = self._run(slots, use_cache=True).past_key_values.layers
        after = self.positions[..., -1:] + 1 + torch.arange(num_after, device=self.positions.device)
        return Memory(
            keys=tuple(layer.keys for layer in layers),
            values=tuple(layer.values for layer in layers),
            is_real=torch.ones(self.embeds.shape[:2], dtype=torch.bool, device=self.embeds.device),
            rotation=text_rotation(self.vlm.model.language_model, self.embeds, after),
        )

    def _run(self, slots: torch.Tensor, *, use_cache: bool) -> Any:
        filled = torch.cat([self.embeds[:, : -slots.shape[1]], slots.to(self.embeds.dtype)], dim=1)
        mask = torch.ones(filled.shape[:2], dtype=torch.long, device=filled.device)
        return self.vlm.model.language_model(
            inputs_embeds=filled, position_ids=self.positions, attention_mask=mask, use_cache=use_cache
        )
