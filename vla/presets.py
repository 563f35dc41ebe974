"""The backbones that have a name: hub addresses of the released checkpoints, and the sizes of those made here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase, Qwen2_5_VLConfig

from vst_vla.vla.corpus import default_texts, reading_texts

HUB_IDS = {
    "vst-3b-sft": "rayruiyang/VST-3B-SFT",
    "vst-3b-rl": "rayruiyang/VST-3B-RL",
    "vst-7b-sft": "rayruiyang/VST-7B-SFT",
    "vst-7b-rl": "rayruiyang/VST-7B-RL",
    "qwen2.5-vl-3b": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen2.5-vl-7b": "Qwen/Qwen2.5-VL-7B-Instruct",
}

_VISION = {
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
}
_TEXT = {
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
}
_TINY_VISION = {
    "hidden_size": 128,
    "depth": 4,
    "num_heads": 4,
    "intermediate_size": 384,
    "out_hidden_size": 192,
    "fullatt_block_indexes": [0, 1, 2, 3],
}
# A head is 32 wide, so 16 rotary frequencies, shared 1 : 1.5 : 1.5 by time, height and width as in the releases.
_TINY_ROPE = {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [4, 6, 6]}
_TINY_TEXT = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "rope_parameters": _TINY_ROPE,
}
_SMALL_VISION = {
    "hidden_size": 512,
    "depth": 12,
    "num_heads": 8,
    "intermediate_size": 1408,
    "out_hidden_size": 768,
    "fullatt_block_indexes": list(range(12)),  # a policy's picture is small enough for each patch to see all of it
}
_SMALL_TEXT = {
    "hidden_size": 768,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "intermediate_size": 2304,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [8, 12, 12]},
}
# What is read and answered takes up to 1,024 tokens, of which neighbours have to be told apart, not far ones.
_READER_ROPE = {**_TINY_ROPE, "rope_theta": 1_000.0}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A backbone from random weights: sizes of the vision tower and of the language model."""

    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    texts: Callable[[], list[str]] = default_texts  # of its tokenizer
    vocab_size: int = 1536  # at most
    looking_back: int = 0  # layers whose heads look a few tokens back from the start: `looking_back`


PRESETS: Mapping[str, Preset] = {
    "tiny": Preset(vision=_TINY_VISION, text=_TINY_TEXT),
    "tiny-reader": Preset(
        vision=_TINY_VISION,
        text={**_TINY_TEXT, "rope_parameters": _READER_ROPE},
        texts=reading_texts,
        vocab_size=3072,
        looking_back=1,
    ),
    "small": Preset(vision=_SMALL_VISION, text=_SMALL_TEXT),
}
NAMES = (*PRESETS, *HUB_IDS)


def preset_config(name: str, *, tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
    """Qwen2.5-VL's architecture at the preset's size (3 M parameters, `small` 160 M), with the tokenizer's ids."""
    preset = PRESETS[name]

    def token(word: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(word))

    ids = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return Qwen2_5_VLConfig(
        text_config={
            **_TEXT,
            **preset.text,
            **ids,
            "vocab_size": _rounded(len(tokenizer)),
            "tie_word_embeddings": True,
        },
        vision_config={**_VISION, **preset.vision},
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        architectures=["Qwen2_5_VLForConditionalGeneration"],
    )


def _rounded(count: int, *, multiple: int = 64) -> int:
    """The next multiple, so that the vocabulary's matrix has an even width."""
    return -(-count // multiple) * multiple
