"""The vision-language backbone: transformers' own Qwen2.5-VL and its processor, from a name, the hub or a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.hub import fetch_checkpoint
from vst_vla.vla.looking_back import look_back
from vst_vla.vla.packing import PACKED_ATTENTION, register_packed_attention
from vst_vla.vla.presets import HUB_IDS, NAMES, PRESETS, preset_config
from vst_vla.vla.tokenizer import make_tiny_processor
from vst_vla.vla.vision import SEGMENT_ATTENTION, register_attention

MODEL_TYPE = "qwen2_5_vl"
PARTS = ("vision", "merger", "language")
_LINEAR = r"(q_proj|k_proj|v_proj|o_proj|qkv|proj|gate_proj|up_proj|down_proj)"
_PATHS = {
    "vision": rf".*visual\.blocks\.\d+\..*\.{_LINEAR}",
    "merger": r".*visual\.merger\.mlp\.[02]",
    "language": rf".*language_model\.layers\.\d+\..*\.{_LINEAR}",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Backbone:
    """A loaded vision-language model, its processor, and where both came from."""

    model: Qwen2_5_VLForConditionalGeneration
    processor: Qwen2_5_VLProcessor
    name: str
    revision: str | None = None  # hub commit, None for local folders and random weights

    @property
    def hidden_dim(self) -> int:
        """Width D of the language model."""
        return int(self.model.config.text_config.hidden_size)


def load_backbone(
    name_or_folder: str,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    attention: str = "sdpa",
    seed: int = 0,
    tiny_texts: Iterable[str] | None = None,
) -> Backbone:
    """Loads a backbone.

    Args:
        name_or_folder: one of `presets.PRESETS` (random weights), a released checkpoint's name (`presets.HUB_IDS`), or
            a folder in the released checkpoints' file format.
        revision: hub commit or tag; ignored for random weights and folders.
        dtype: weight type, or "auto" for the checkpoint's own (float32 for random weights).
        attention: transformers' attention implementation; "sdpa" also batches the vision tower's small segments.
        seed: of random weights; the global generator is left as it was.
        tiny_texts: what their tokenizer is trained on, the preset's own corpus when None.

    Raises:
        ValueError: unknown name, a folder that holds no Qwen2.5-VL checkpoint, or a hub that cannot be reached.
    """
    if name_or_folder in PRESETS:
        return _preset(name_or_folder, attention=attention, dtype=dtype, seed=seed, texts=tiny_texts)
    folder = Path(name_or_folder)
    if folder.is_dir():
        check_folder(folder)
        return _pretrained(folder, name=name_or_folder, revision=None, dtype=dtype, attention=attention)
    if name_or_folder not in HUB_IDS:
        if "/" in name_or_folder or name_or_folder.startswith("."):
            names = ", ".join(NAMES)
            raise ValueError(f"no backbone folder at '{name_or_folder}': pass an existing folder or one of {names}")
        raise unknown_name("backbone", name_or_folder, NAMES)
    folder, commit = fetch_checkpoint(HUB_IDS[name_or_folder], revision=revision)
    return _pretrained(folder, name=name_or_folder, revision=commit, dtype=dtype, attention=attention)


def check_folder(folder: Path) -> None:
    """Raises ValueError unless `folder` holds a Qwen2.5-VL checkpoint: configuration, weights and processor."""
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(f"'{folder}' has no config.json, expected a Qwen2.5-VL checkpoint folder: check the path")
    found = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    if found != MODEL_TYPE:
        raise ValueError(f"'{folder}' holds model_type '{found}', expected '{MODEL_TYPE}': use a Qwen2.5-VL checkpoint")
    if not list(folder.glob("*.safetensors")):
        raise ValueError(f"'{folder}' has no *.safetensors, expected model weights: copy the checkpoint again")
    if not any((folder / file).is_file() for file in ("processor_config.json", "preprocessor_config.json")):
        raise ValueError(f"'{folder}' has no processor files, expected preprocessor_config.json: copy them beside it")


def freeze(backbone: Backbone, *, parts: Sequence[str] = PARTS) -> None:
    """Stops training of the named parts: the vision blocks, the vision-to-language merger, the language model."""
    for part in parts:
        for module in part_modules(backbone.model, part):
            module.requires_grad_(requires_grad=False)


def part_modules(model: Qwen2_5_VLForConditionalGeneration, part: str) -> tuple[nn.Module, ...]:
    """The modules that make up one of `PARTS`; raises ValueError for another name."""
    tower = model.model.visual
    modules: dict[str, tuple[nn.Module, ...]] = {
        "vision": (tower.patch_embed, tower.blocks),
        "merger": (tower.merger,),
        "language": (model.model.language_model, model.lm_head),
    }
    if part not in modules:
        raise unknown_name("backbone part", part, PARTS)
    return modules[part]


def add_lora(
    backbone: Backbone,
    *,
    rank: int = 16,
    alpha: float = 32.0,
    dropout: float = 0.0,
    parts: Sequence[str] = ("language",),
) -> None:
    """Puts trainable low-rank adapters (LoRA, Hu et al. 2021) on every linear layer of `parts`; freezes all else.

    The model keeps its class; `checkpoint.released_weights` folds the adapters in when it is saved.
    """
    for part in parts:
        if part not in _PATHS:
            raise unknown_name("backbone part", part, _PATHS)
    if rank < 1:
        raise ValueError(f"LoRA rank is {rank}, expected at least 1")
    targets = "|".join(f"({_PATHS[part]})" for part in parts)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets)
    inject_adapter_in_model(config, backbone.model)


def add_words(backbone: Backbone, *, words: Sequence[str]) -> list[int]:
    """Adds ordinary tokens behind the vocabulary, those it lacks, and returns the ids of all `words`.

    Spare rows of the embedding come first (Qwen2.5-VL-3B has 271 of them); it grows only when they do not suffice. The
    embeddings learn even where the language model is frozen: a new word means nothing yet.
    """
    model, tokenizer = backbone.model, backbone.processor.tokenizer
    tokenizer.add_tokens(list(words))
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=64, mean_resizing=False)
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        table.requires_grad_(requires_grad=True)
    return [int(number) for number in tokenizer.convert_tokens_to_ids(list(words))]


def use_attention(model: Qwen2_5_VLForConditionalGeneration, attention: str) -> None:
    """Sets the attention implementation; "sdpa" gives the vision tower the batched form of the same attention.

    `packing.PACKED_ATTENTION` does so too; it is for training, not for generation.
    """
    register_attention()
    register_packed_attention()
    tower = SEGMENT_ATTENTION if attention in ("sdpa", PACKED_ATTENTION) else attention
    model.set_attn_implementation({"text_config": attention, "vision_config": tower})


def _preset(name: str, *, attention: str, dtype: str | torch.dtype, seed: int, texts: Iterable[str] | None) -> Backbone:
    preset = PRESETS[name]
    processor = make_tiny_processor(preset.texts() if texts is None else texts, vocab_size=preset.vocab_size)
    config = preset_config(name, tokenizer=processor.tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    look_back(model, layers=preset.looking_back)
    if dtype != "auto":
        model = model.to(dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype))
    use_attention(model, attention)
    return Backbone(model=model, processor=processor, name=name)


def _pretrained(folder: Path, *, name: str, revision: str | None, dtype: str | torch.dtype, attention: str) -> Backbone:
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=dtype, local_files_only=True)
    use_attention(model, attention)
    return Backbone(model=model, processor=processor, name=name, revision=revision)
