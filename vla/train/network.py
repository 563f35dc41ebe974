"""The network of a run: a backbone made trainable as a recipe says, with a head where there are demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from vst_vla.vla.backbone import Backbone, add_lora, freeze, load_backbone, use_attention
from vst_vla.vla.contracts import LIBERO_ACTION, LIBERO_STATE
from vst_vla.vla.data.labeller import MARKS
from vst_vla.vla.data.picture_labels import EACH, LabelTable
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.geometry.cells import cells_a_token
from vst_vla.vla.geometry.supervision import Supervision
from vst_vla.vla.model import VLAModel
from vst_vla.vla.packing import PACKED_ATTENTION
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.transforms import action_normalizer


def build_network(
    recipe: Recipe,
    *,
    backbone: str,
    head: Mapping[str, Any] | None,
    data: RobotDataset | None,
    labels: LabelTable | None = None,
    seed: int,
) -> VLAModel:
    """The network before its first step.

    Args:
        recipe: which parts are trained, by adapters or whole, in what precision.
        backbone: a name or folder, see `load_backbone`.
        head: the action head's configuration; used with `data`.
        data: demonstrations; None for a network for conversations only.
        labels: of what pictures of conversations show; used without `data`.
        seed: of a backbone's random weights.

    Raises:
        ValueError: as `load_backbone`, `add_lora` and `freeze`; or a chunk that no episode can fill.
    """
    loaded = load_backbone(backbone, seed=seed, dtype=torch.float32)
    if recipe.lora_rank:
        add_lora(loaded, rank=recipe.lora_rank, alpha=2.0 * recipe.lora_rank, parts=recipe.lora_parts)
    freeze(loaded, parts=recipe.freeze)
    if recipe.keeps_bf16:
        _halve_frozen(loaded)
    on_cpu = not torch.cuda.is_available()
    if recipe.pack_tokens or (on_cpu and recipe.computes_in_bf16):  # where attention stays float32
        use_attention(loaded.model, PACKED_ATTENTION)
    if data is None:
        if recipe.spatial_weight == 0 and not recipe.lessons:
            raise ValueError(
                "recipe.spatial_weight is 0, so that nothing is learnt from these conversations: set it to 1, or "
                "recipe.readout_weight=1 to learn what their pictures show"
            )
        model = VLAModel(loaded)
        if labels is not None:
            model.supervision = _supervision(recipe, model, num_classes=len(labels.classes), each=EACH)
        return model
    assert head is not None
    _check_chunk(data)
    spec = ModelSpec(
        head=dict(head),
        state=LIBERO_STATE if recipe.state else None,
        action=LIBERO_ACTION,
        image_keys=data.image_keys,
        image_size=recipe.image_size,
        crop=recipe.crop,
        history=data.history,
        camera_embedding=recipe.camera_embedding,
        least_action_share=recipe.least_action_share,
        backbone=loaded.name,
        revision=loaded.revision,
        recipe=recipe.name,
    )
    model = VLAModel(loaded, spec=spec, norm_stats=data.norm_stats)
    assert model.head is not None
    normalizer = action_normalizer(spec, stats=data.norm_stats)
    model.head.fit(normalizer.normalize(data.action_chunks()))
    if recipe.lessons:
        each = cells_a_token(spec.image_size)
        model.supervision = _supervision(recipe, model, num_classes=len(data.classes), each=each)
    return model


def _supervision(recipe: Recipe, model: VLAModel, *, num_classes: int, each: int) -> Supervision:
    return Supervision(
        recipe.lessons,
        text=model.config.text_config,
        depth=recipe.geometry_depth,
        num_classes=num_classes,
        each=each,
        num_marks=len(MARKS) if model.head is None else 0,
        alone=model.head is None and recipe.spatial_weight == 0,
    )


def _check_chunk(data: RobotDataset) -> None:
    """Past an episode's end actions are padding that nothing is learnt from; some must be there in some episode."""
    if data.chunk > data.longest_episode:
        raise ValueError(
            f"head.chunk is {data.chunk}, the longest episode has {data.longest_episode} frames, so that its last "
            f"actions would never be learnt: set head.chunk={data.longest_episode} or less"
        )


def halve_weights(model: VLAModel) -> None:
    """The backbone's weights in bfloat16, as the released checkpoints have them; adapters, not yet folded in, stay."""
    for name, parameter in model.vlm.named_parameters():
        if ".lora_" not in name:
            parameter.data = parameter.data.to(torch.bfloat16)


def _halve_frozen(backbone: Backbone) -> None:
    """Half the memory for weights that never change; those that do stay in float32, where small steps are not lost."""
    for parameter in backbone.model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
