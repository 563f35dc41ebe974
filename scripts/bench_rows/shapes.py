"""The networks that rows measure: random weights, made-up pictures; no checkpoint, no simulator, no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vst_vla.vla.backbone import Backbone, use_attention
from vst_vla.vla.contracts import (
    ACTION_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    STATE_KEY,
    TASK_KEY,
    Observation,
)
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.model import VLAModel
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.presets import preset_config
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.tokenizer import make_tiny_processor

CHUNK = 8
TEXT_TOKENS = 30
"""Words and marks of a prompt, without visual tokens and slots."""
_LONG = "pick up the milk and place it in the basket next to the plate on the stove beside the bowl and the mug"

_VISION_3B = {
    "hidden_size": 1280,
    "depth": 32,
    "num_heads": 16,
    "intermediate_size": 3420,
    "out_hidden_size": 2048,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_TEXT_3B = {
    "hidden_size": 2048,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "intermediate_size": 11008,
    "max_position_embeddings": 128000,
    "rms_norm_eps": 1e-6,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [16, 24, 24]},
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A network's size, and where it is measured.

    name: tiny, or vst-3b: the exact one of VST-3B and Qwen2.5-VL-3B.
    device: "cpu" or "cuda".
    picture: side in px of a camera's picture.
    image_size: side in px of what the model sees of it.
    batch: rows of a training step.
    pack: tokens of a packed row.
    """

    name: str
    device: str
    picture: int
    image_size: int
    batch: int
    pack: int

    @property
    def acting_dtype(self) -> torch.dtype:
        """Of the backbone's weights when acting."""
        return torch.bfloat16 if self.device == "cuda" else torch.float32


TINY = Shape(name="tiny", device="cpu", picture=128, image_size=112, batch=24, pack=400)
VST_3B = Shape(name="vst-3b", device="cuda", picture=256, image_size=224, batch=32, pack=16384)
VST_3B_252 = Shape(name="vst-3b", device="cuda", picture=256, image_size=252, batch=32, pack=16384)


def make_backbone(shape: Shape, *, dtype: torch.dtype) -> Backbone:
    """Random weights on the shape's device, and the tiny processor: which words a token stands for costs nothing."""
    processor = make_tiny_processor()
    config = preset_config("tiny", tokenizer=processor.tokenizer)
    if shape.name != "tiny":
        ids = {key: getattr(config, key) for key in ("image_token_id", "video_token_id", "vision_start_token_id")}
        config = Qwen2_5_VLConfig(text_config=_TEXT_3B, vision_config=_VISION_3B, tie_word_embeddings=True, **ids)
    with torch.random.fork_rng(), torch.device(shape.device):
        torch.manual_seed(0)
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=dtype)
    use_attention(model, "sdpa")
    return Backbone(model=model, processor=processor, name=shape.name)


def make_policy(shape: Shape, *, head: dict[str, Any], dtype: torch.dtype) -> VLAModel:
    """A policy for two cameras. It has no vectors for cameras, which the stock model has not."""
    spec = ModelSpec(head={"chunk": CHUNK, **head}, image_size=shape.image_size, crop=0.94, camera_embedding=False)
    backbone = make_backbone(shape, dtype=dtype)
    torch.manual_seed(0)
    model = VLAModel(backbone, spec=spec, norm_stats=_statistics())
    return model.to(torch.device(shape.device)).eval()


def observations(shape: Shape, *, policy: VLAModel, count: int) -> list[Observation]:
    """So many different observations under one instruction of `TEXT_TOKENS` tokens."""
    task = _instruction(policy)
    return [_observation(seed, side=shape.picture, task=task) for seed in range(count)]


def prompt_tokens(policy: VLAModel, *, task: str) -> int:
    """Tokens of a prompt without visual tokens and slots."""
    collator = Collator(policy.processor, image_keys=IMAGE_KEYS)
    return int(collator.prompts([task], counts=[[0] * len(IMAGE_KEYS)])["input_ids"].shape[1])


def _instruction(policy: VLAModel) -> str:
    words = _LONG.split()
    return next(
        task
        for task in (" ".join(words[:count]) for count in range(1, len(words) + 1))
        if prompt_tokens(policy, task=task) >= TEXT_TOKENS
    )


def _observation(seed: int, *, side: int, task: str) -> Observation:
    rng = np.random.default_rng(seed)
    pictures = {key: rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    return {**pictures, STATE_KEY: rng.uniform(-1, 1, LIBERO_STATE.dim).astype(np.float32), TASK_KEY: task}


def _statistics() -> NormStats:
    def feature(dim: int) -> FeatureStats:
        zero, one, low = (0.0,) * dim, (1.0,) * dim, (-1.0,) * dim
        return FeatureStats(mean=zero, std=one, min=low, max=one, q01=low, q99=one)

    return NormStats({ACTION_KEY: feature(LIBERO_ACTION.dim), STATE_KEY: feature(LIBERO_STATE.dim)})
