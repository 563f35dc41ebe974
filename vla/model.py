"""The policy network: a Qwen2.5-VL backbone with one action head, trained on robot rows and on spatial questions.

Letters in shapes: B batch, L tokens, D hidden, K slots, P patches, N images, S state, C chunk, A action.

A batch, right padded, is all robot rows or all conversations; packed, it is one row of conversations (`packing`):

    key                     shape    meaning
    input_ids               (B,L)    token ids
    attention_mask          (B,L)    0 on padding; not in a packed batch
    sample_lengths          (n,)     tokens of each conversation of a packed batch, whose B is 1
    labels                  (B,L)    next-token targets, -100 elsewhere; conversations only
    pixel_values            (P,1176) patches of the N images in row order, as Qwen's image processor makes them
    image_grid_thw          (N,3)    each image's grid in patches
    slot_mask               (B,L)    bool, K true a row (K may be 0), after the prompt; its presence makes a robot batch
    state                   (B,S)    normalised; when the policy has a state
    actions, action_is_pad  (B,C,A), (B,C)    normalised; for the loss
    cells                   (B,k,n,n,5)       what the k pictures of a row show, where `supervision` is to teach it
    named                   (M,2)    names in the instructions, likewise: place among the B*L tokens, class
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig

from vst_vla.vla.backbone import Backbone, add_words, load_backbone
from vst_vla.vla.blocks import SELECTIVE, checkpointing_arguments
from vst_vla.vla.checkpoint import HEAD_FILE, SPEC_FILE, STATS_FILE, released_weights, replacing
from vst_vla.vla.geometry.cells import by_token, to_cells
from vst_vla.vla.geometry.pointing import named_cells
from vst_vla.vla.geometry.supervision import Supervision
from vst_vla.vla.heads import ActionHead, Sizes, for_acting, make_head
from vst_vla.vla.heads.base import token_loss
from vst_vla.vla.heads.euler import Beginning, Inpainting
from vst_vla.vla.normalize import NormStats
from vst_vla.vla.prompt import IGNORED, MESSAGE_END
from vst_vla.vla.quantize import check_quantization, quantize
from vst_vla.vla.reading import Precision, PromptReader
from vst_vla.vla.room import require_room
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.vision import encode_images, rope_positions

Batch = Mapping[str, Any]


class VLAModel(nn.Module):
    """Backbone and action head behind two verbs, `forward` (loss) and `predict`.

    Args:
        backbone: the vision-language model and its processor.
        spec: what the policy is; its head is built from `spec.head`. None makes a model for conversations only.
        norm_stats: the data's statistics, saved with the weights.

    Attributes:
        supervision: what the visual tokens are taught in training, None for nothing; set by the trainer, never saved.

    Raises:
        ValueError: statistics that do not fit the spec.
    """

    accepts_loss_kwargs = False  # transformers.Trainer: the loss is a mean over this batch

    def __init__(
        self, backbone: Backbone, *, spec: ModelSpec | None = None, norm_stats: NormStats | None = None
    ) -> None:
        super().__init__()
        if spec is not None and norm_stats is not None:
            spec.check(norm_stats)
        self.vlm = backbone.model
        self.processor = backbone.processor
        self.spec, self.norm_stats = spec, norm_stats
        self.head = None if spec is None else _head(spec, config=self.config.text_config)
        self.camera_embedding = None if spec is None else _camera_embedding(spec, hidden_dim=backbone.hidden_dim)
        self.supervision: Supervision | None = None
        if self.head is not None and self.head.new_tokens:
            *ids, end = add_words(backbone, words=(*self.head.new_tokens, MESSAGE_END))
            self.head.take_tokens(ids, end=end)

    @property
    def config(self) -> Qwen2_5_VLConfig:
        """The backbone's configuration."""
        return self.vlm.config

    @property
    def device(self) -> torch.device:
        """Where the backbone's weights are."""
        return self.vlm.device

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Recomputes activations in the backward pass, for less memory; with {"selective": True} only cheap ones."""
        self.vlm.gradient_checkpointing_enable(
            checkpointing_arguments(selective=bool((gradient_checkpointing_kwargs or {}).get(SELECTIVE)))
        )

    def gradient_checkpointing_disable(self) -> None:
        """Keeps activations for the backward pass again."""
        self.vlm.gradient_checkpointing_disable()

    def forward(self, **batch: Any) -> dict[str, Any]:
        """{"loss": scalar, detached scalars to log}: the head's loss on robot rows, cross-entropy on conversations.

        Of several, given as `batches`, each one's by its name, and those of `supervision` by theirs: data parallel
        training wants one call a step.
        """
        if "batches" in batch:  # not by way of `forward`, which a trainer may have put into one autocast
            parts = [self._losses(name, part) for name, part in batch["batches"].items()]
            return {name: loss for losses in parts for name, loss in losses.items()}
        return self._losses("given", batch)["given"]

    def _losses(self, name: str, batch: Batch) -> dict[str, dict[str, torch.Tensor]]:
        if "slot_mask" not in batch:
            return self._conversation_losses(name, batch)
        head, prompts = self._require_head(), self.prompts(batch)
        listening: AbstractContextManager[list[torch.Tensor]] = nullcontext([])
        if self.supervision is not None:
            listening = self.supervision.listening(prompts)
        with torch.autocast(self.device.type, enabled=False):
            with listening as heard:
                losses = {name: head.loss(prompts, actions=batch["actions"], action_is_pad=batch["action_is_pad"])}
            if self.supervision is not None:
                places = (batch["input_ids"] == self.config.image_token_id).flatten().nonzero()[:, 0]
                cells = by_token(batch["cells"], each=self.supervision.each)
                given: dict[str, Any] = {"prompts": prompts, "places": places, "cells": cells}
                if "named" in batch:
                    given |= named_cells(batch["named"], cells.classes, shape=batch["input_ids"].shape)
                losses |= self.supervision(heard, **given)
        return losses

    @torch.no_grad()
    def predict(self, batch: Batch) -> torch.Tensor:
        """Normalised action chunks (B,C,A) float32 for a robot batch on any device.

        With `begin` (B,C,A) and `begin_given` (B,C) in it, for a head that inpaints, they continue these actions.
        """
        head = self._require_head()
        moved = {key: value.to(self.device) for key, value in batch.items() if isinstance(value, torch.Tensor)}
        if "begin" not in moved:
            return head.predict(self.prompts(moved))
        begin = Beginning(actions=moved["begin"], given=moved["begin_given"])
        return cast(Inpainting, head).predict(self.prompts(moved), begin=begin)

    def encode(self, batch: Batch) -> torch.Tensor:
        """Hidden states (B,L,D) of conversations after the last layer's norm; those on padding are meaningless."""
        return self.prompts(batch).read_all()

    def prompts(self, batch: Batch) -> PromptReader:
        """The batch embedded, its visual tokens in place, for a head to have read."""
        ids, attention_mask = batch["input_ids"], batch.get("attention_mask")
        grids = tuple(tuple(grid) for grid in batch["image_grid_thw"].tolist()) if "image_grid_thw" in batch else ()
        image_mask = ids == self.config.image_token_id
        embeds = self.vlm.get_input_embeddings()(ids)
        if grids:
            visual = encode_images(self.vlm.model.visual, batch["pixel_values"], grids=grids)
            if "slot_mask" in batch and self.camera_embedding is not None:
                visual = visual + self._camera_offsets(grids).to(visual.dtype)
            embeds = embeds.masked_scatter(image_mask[..., None], visual.to(embeds.dtype))
        elif self.training and torch.distributed.is_initialized():
            embeds = embeds + self._idle_tower().to(embeds.dtype)
        return PromptReader(
            vlm=self.vlm,
            embeds=embeds,
            positions=rope_positions(image_mask, grids=grids, merge=self._merge, attention_mask=attention_mask),
            attention_mask=attention_mask,
            sample_lengths=batch.get("sample_lengths"),
            slot_mask=batch.get("slot_mask", torch.zeros_like(image_mask)),
            state=batch.get("state"),
            precision=Precision.current(self.device.type),
        )

    def save(self, folder: str | Path) -> None:
        """Writes one self-contained folder, whole or not at all; see `checkpoint` for its files.

        LoRA adapters are folded into the weights. Without a head, the folder is a plain Qwen2.5-VL checkpoint.

        Raises:
            ValueError: the folder holds something else, or a policy has no statistics.
            OSError: the disk refused; an earlier checkpoint there is untouched.
        """
        if self.spec is not None and self.norm_stats is None:
            raise ValueError("the policy has no normalisation statistics, expected norm_stats: pass them to VLAModel")
        with replacing(Path(folder)) as fresh:
            self.vlm.save_pretrained(fresh, state_dict=released_weights(self.vlm), save_original_format=False)
            self.processor.save_pretrained(fresh)
            if self.spec is not None and self.norm_stats is not None:
                save_file(self._own_weights(), fresh / HEAD_FILE)
                self._require_head().save_files(fresh)
                (fresh / SPEC_FILE).write_text(self.spec.to_json(), encoding="utf-8")
                (fresh / STATS_FILE).write_text(self.norm_stats.to_json(), encoding="utf-8")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "auto",
        attention: str = "sdpa",
        head: Mapping[str, Any] | None = None,
        quantization: str | None = None,
    ) -> VLAModel:
        """Reads a folder that `save` wrote with a head, ready to act.

        Args:
            folder: the checkpoint.
            device: where to put it.
            dtype: weight type, see `load_backbone`.
            attention: transformers' attention implementation, see `load_backbone`.
            head: options of the head to change for acting, such as {"steps": 4} of `flow`.
            quantization: one of `quantize.QUANTIZATIONS`, made of the blocks' weights before they go to the device.

        Raises:
            ValueError: no such folder, a backbone without a head, statistics or head weights that do not fit, another
                head or an option that training has fixed, a quantisation that the device does not support, or a GPU
                without the memory.
        """
        if quantization is not None:
            check_quantization(quantization, device=torch.device(device))
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"no checkpoint folder at '{folder}': check the path, or train one with `vst-vla train`")
        if not (folder / SPEC_FILE).is_file():
            missing = f"'{folder}' has no action head ({SPEC_FILE} is missing)"
            raise ValueError(f"{missing}: train one with `vst-vla train backbone={folder}`")
        spec = ModelSpec.from_json((folder / SPEC_FILE).read_text(encoding="utf-8"))
        spec = replace(spec, head=for_acting(spec.head, head or {}))
        stats = NormStats.load(folder / STATS_FILE)
        spec.check(stats)
        model = cls(load_backbone(str(folder), dtype=dtype, attention=attention), spec=spec, norm_stats=stats)
        model._load_own_weights(folder / HEAD_FILE)
        model._require_head().load_files(folder)
        if quantization is not None:
            quantize(model.vlm, quantization)
        require_room(model, device=torch.device(device))
        model.to(device).eval()
        return model

    @property
    def _merge(self) -> int:
        return int(self.config.vision_config.spatial_merge_size)

    def _idle_tower(self) -> torch.Tensor:
        """Zero, by way of the vision tower: processes that train together must all go through the same parts."""
        tower, side = self.vlm.model.visual, self._merge
        width = tower.patch_embed.proj.weight.flatten(1).shape[1]
        blank = torch.zeros(side**2, width, device=self.device)
        return 0.0 * encode_images(tower, blank, grids=((1, side, side),)).sum()

    def _require_head(self) -> ActionHead:
        if self.head is None:
            raise ValueError("robot rows reached a model without an action head: pass a spec to VLAModel")
        return self.head

    def _conversation_losses(self, name: str, batch: Batch) -> dict[str, dict[str, torch.Tensor]]:
        """The cross-entropy by `name`, and what else is taught where pictures have labels."""
        prompts = self.prompts(batch)
        if self.supervision is None or "token_cells" not in batch:
            return {name: self._language_loss(batch, hidden=prompts.read_all())}
        losses = {}
        with self.supervision.listening(prompts) as heard:
            if not self.supervision.alone:
                losses = {name: self._language_loss(batch, hidden=prompts.read_all())}
        cells = to_cells(batch["token_cells"], poses=batch["token_poses"], marks=batch["token_marks"])
        names = {key: batch.get(key) for key in ("mentions", "meant", "recalls")}
        given = {"places": batch["cell_tokens"], "cells": cells, **names}
        return losses | self.supervision(heard, prompts=prompts, **given)

    def _language_loss(self, batch: Batch, *, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        """Mean cross-entropy of the targets; the vocabulary's logits are computed at those positions only."""
        targets = batch["labels"][:, 1:]
        wanted = targets != IGNORED
        logits = self.vlm.lm_head(hidden[:, :-1][wanted]).float()
        weights = batch["target_weights"][:, 1:][wanted] if "target_weights" in batch else None
        return token_loss(logits, targets=targets[wanted], weights=weights)

    def _camera_offsets(self, grids: tuple[tuple[int, ...], ...]) -> torch.Tensor:
        """Each visual token's camera vector, (V,D); the pictures of a row come in the spec's order."""
        assert self.camera_embedding is not None
        cameras = torch.arange(len(grids), device=self.device) % len(self.camera_embedding)
        counts = torch.tensor([t * h * w // self._merge**2 for t, h, w in grids], device=self.device)
        return self.camera_embedding[cameras.repeat_interleave(counts)]

    def _own_weights(self) -> dict[str, torch.Tensor]:
        """Weights that acting needs and that are not the backbone's."""
        others = ("vlm.", "supervision.")
        return {name: value for name, value in self.state_dict().items() if not name.startswith(others)}

    def _load_own_weights(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"no action head weights at '{path}': copy the checkpoint again")
        ours, theirs = self._own_weights(), load_file(path)
        for name in sorted(ours.keys() | theirs.keys()):
            expected, found = (tuple(w[name].shape) if name in w else None for w in (ours, theirs))
            if expected != found:
                raise ValueError(f"'{path}' has shape {found} for '{name}', expected {expected}: copy it again")
        self.load_state_dict(theirs, strict=False)


def _head(spec: ModelSpec, *, config: Qwen2_5_VLTextConfig) -> ActionHead:
    sizes = Sizes(
        hidden=config.hidden_size,
        action=spec.action.dim,
        state=spec.state_dim,
        num_layers=config.num_hidden_layers,
        num_kv_heads=config.num_key_value_heads,
        head_dim=config.hidden_size // config.num_attention_heads,
    )
    return make_head(spec.head, sizes=sizes)


def _camera_embedding(spec: ModelSpec, *, hidden_dim: int) -> nn.Parameter | None:
    return nn.Parameter(torch.randn(len(spec.picture_keys), hidden_dim) * 0.02) if spec.camera_embedding else None
