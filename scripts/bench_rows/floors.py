"""Operations and bytes that a network cannot do without; docs/performance.md works them out by hand.

A multiplication and an addition count as two operations, as in every rate here. Norms, rotations and softmax are left
out: they are below 1 %.

Letters: p patches of a picture, L tokens of a prompt, T tokens that are predicted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from transformers import Qwen2_5_VLConfig

from vst_vla.vla.model import VLAModel


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one pass has to do.

    flops: operations of matrix products and attention.
    num_bytes: weights that it reads, once.
    """

    flops: float
    num_bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(flops=self.flops + other.flops, num_bytes=self.num_bytes + other.num_bytes)

    def times(self, count: float) -> Work:
        """The same for so many rows: the weights are read once for all."""
        return Work(flops=self.flops * count, num_bytes=self.num_bytes)

    def steps(self, count: int) -> Work:
        """The same so many times one after another: the weights are read every time."""
        return Work(flops=self.flops * count, num_bytes=self.num_bytes * count)


def tower_work(model: VLAModel, *, patches: int, pictures: int) -> Work:
    """Of the vision tower for pictures of p patches each; one of a still picture's two frames is embedded."""
    tower, config = model.vlm.model.visual, model.config.vision_config
    projection = tower.patch_embed.proj.weight
    window = min(patches, (config.window_size // config.patch_size) ** 2)
    full = len(config.fullatt_block_indexes)
    seen = full * patches + (config.depth - full) * window  # patches that a patch attends to, over all layers
    flops = 2 * patches * (projection.numel() / 2 + _weights(tower.blocks)) + 4 * patches * seen * config.hidden_size
    flops += 2 * patches / config.spatial_merge_size**2 * _weights([tower.merger])
    return Work(flops=pictures * flops, num_bytes=_bytes(tower) - projection.nbytes / 2)


def language_work(model: VLAModel, *, length: int) -> Work:
    """Of the language model's layers for one prompt; a token attends to those before it, half of them on average."""
    language, config = model.vlm.model.language_model, model.config.text_config
    attention = 4 * length * length / 2 * config.hidden_size * config.num_hidden_layers
    return Work(flops=2 * length * _weights(language.layers) + attention, num_bytes=_bytes(language.layers))


def flow_step_work(model: VLAModel, *, length: int) -> Work:
    """Of one step of the flow head's expert behind a prompt; what follows from the step's time alone is left out."""
    assert model.head is not None
    expert, tokens = model.head.expert, model.head.chunk + model.head.num_slots
    layers = [part for layer in expert.layers for part in (layer.query, layer.key, layer.value, layer.out)]
    layers += [part for layer in expert.layers for part in (layer.gate, layer.up, layer.down)]
    width = expert.layers[0].query.out_features
    attention = 4 * tokens * (length + tokens) * width * len(expert.layers)
    weights = _weights(layers)
    return Work(flops=2 * tokens * weights + attention, num_bytes=4 * weights)


def vocabulary_work(model: VLAModel, *, tokens: int) -> Work:
    """Of the logits of T tokens."""
    table = model.vlm.lm_head.weight
    return Work(flops=2 * tokens * table.numel(), num_bytes=table.nbytes)


def patches_of(config: Qwen2_5_VLConfig, *, side: int) -> int:
    """P of a square picture of so many pixels a side."""
    return (side // int(config.vision_config.patch_size)) ** 2


def _weights(modules: Iterable[nn.Module]) -> int:
    """Numbers in the matrices of linear layers."""
    parts = (part for module in modules for part in module.modules() if isinstance(part, nn.Linear))
    return sum(part.weight.numel() for part in parts)


def _bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())
