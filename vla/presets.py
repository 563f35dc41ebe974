"""The backbones that have a name: hub addresses of the released checkpoints, and the sizes of the tiny preset."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase, Qwen2_5_VLConfig

TINY = "tiny"
HUB_IDS = {
    "vst-3b-sft": "rayruiyang/VST-3B-SFT",
    "vst-3b-rl": "rayruiyang/VST-3B-RL",
    "vst-7b-sft": "rayruiyang/VST-7B-SFT",
    "vst-7b-rl": "rayruiyang/VST-7B-RL",
    "qwen2.5-vl-3b": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen2.5-vl-7b": "Qwen/Qwen2.5-VL-7B-Instruct",
}
NAMES = (TINY, *HUB_IDS)

_VISION = {
    "hidden_size": 128,
    "depth": 4,
    "num_heads": 4,
    "intermediate_size": 384,
    "out_hidden_size": 192,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [0, 1, 2, 3],
}
_TEXT = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    # A head is 32 wide, so 16 rotary frequencies, shared 1 : 1.5 : 1.5 by time, height and width as in the releases.
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [4, 6, 6]},
}


def tiny_config(tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
    """Qwen2.5-VL's architecture at about 3 M parameters, with the token ids of `tokenizer`."""

    def token(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(name))

    ids = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return Qwen2_5_VLConfig(
        text_config={**_TEXT, **ids, "vocab_size": _rounded(len(tokenizer)), "tie_word_embeddings": True},
        vision_config=dict(_VISION),
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
