"""A small Qwen2.5-VL processor made offline: byte-level BPE, Qwen's special tokens, its chat template and image rules.

Same texts in, same tokenizer out; saved and loaded with no network. The pre-tokenizer is Qwen's own, so that digits
stand alone and numbers in JSON answers tokenise as they do in the released checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AddedToken,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from vst_vla.vla.corpus import default_texts
from vst_vla.vla.prompt import SYSTEM_PROMPT

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    + SYSTEM_PROMPT
    + "<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tiny_processor(
    texts: Iterable[str] | None = None, *, vocab_size: int = 1536, max_image_size: int = 448
) -> Qwen2_5_VLProcessor:
    """A processor trained on `texts`, the built-in corpus when None.

    Args:
        texts: training text of the byte-pair merges.
        vocab_size: upper bound on the vocabulary, special tokens included.
        max_image_size: side in pixels of the largest square image kept at its size; larger ones are shrunk.

    Raises:
        ValueError: a vocabulary too small for the bytes, or an image side below one 28 px visual token.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise ValueError(f"vocab_size is {vocab_size}, expected at least {smallest}: every byte needs a token")
    if max_image_size < 28:
        raise ValueError(f"max_image_size is {max_image_size}, expected at least 28: one visual token covers 28 px")
    tokenizer = _train(default_texts() if texts is None else texts, vocab_size=vocab_size - len(SPECIAL_TOKENS))
    pixels = {"shortest_edge": 28 * 28, "longest_edge": max_image_size**2}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=dict(pixels)),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=dict(pixels)),
        chat_template=CHAT_TEMPLATE,
    )


def _train(texts: Iterable[str], *, vocab_size: int) -> Qwen2Tokenizer:
    """Qwen's tokenizer class around freshly trained merges; special tokens take the last ids, as in the releases."""
    shell = Qwen2Tokenizer()._tokenizer
    bpe = Tokenizer(BPE())
    bpe.normalizer, bpe.pre_tokenizer = normalizers.NFC(), shell.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer=trainer)
    return _wrap(bpe)


def _wrap(bpe: Tokenizer) -> Qwen2Tokenizer:
    model = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        model_max_length=32768,
    )
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    tokenizer.add_tokens(special, special_tokens=True)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
