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

from vst_vla.vla.prompt import ROBOT_QUESTION, SYSTEM_PROMPT, THINKING_PROMPT

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

_OBJECTS = (
    "alphabet soup",
    "cream cheese",
    "salad dressing",
    "bbq sauce",
    "ketchup",
    "tomato sauce",
    "butter",
    "milk",
    "chocolate pudding",
    "orange juice",
    "basket",
    "black bowl",
    "plate",
    "stove",
    "cookie box",
    "ramekin",
    "wooden cabinet",
    "wine bottle",
    "wine rack",
    "moka pot",
    "frying pan",
    "mug",
    "caddy",
    "book",
    "microwave",
    "drawer",
)
_TASKS = (
    "pick up the {a} and place it in the {b}",
    "put the {a} on top of the {b}",
    "put both the {a} and the {b} in the basket",
    "open the middle drawer of the {b} and put the {a} inside",
    "turn on the stove and push the {a} next to the {b}",
)
_QUESTIONS = (
    "Which object is closer to the camera, the {a} or the {b}? The {a}.",
    "Detect the {a} and the {b} in the image. Return a JSON list with the keys `bbox_3d` and `label`.",
    "How far is the {a} from the {b}, in metres? 0.25 m",
    "Is the {a} to the left of, to the right of, in front of or behind the {b}? left right front behind above below",
    "Order the marked points from far to near: A, B, C, D. Answer with a single word or phrase.",
    "Camera parameters: horizontal fov 57.82 degrees, vertical fov 45.00 degrees, image width 256 px, height 256 px.",
    "The 3D box holds x_center, y_center, z_center, x_size, y_size, z_size, pitch, yaw, roll. The camera frame is the "
    "world frame: X points right, Y down and Z forward, in metres. The angles are Euler angles divided by 180.",
    '```json\n[\n\t{{"bbox_3d": [-0.12, 0.05, 0.98, 0.07, 0.10, 0.07, 0.00, -0.50, 1.00], "label": "{a}"}},\n'
    '\t{{"bbox_3d": [0.31, -0.24, 1.46, 0.20, 0.15, 0.20, 0.02, 0.25, -0.75], "label": "{b}"}}\n]\n```',
    "<think> The {a} is nearer than the {b}, because its depth is smaller. </think> {a}",
)


def default_texts() -> list[str]:
    """The built-in corpus: robot prompts, spatial questions and answers over the names in the LIBERO suites."""
    texts = [SYSTEM_PROMPT, THINKING_PROMPT, "system\n", "user\n", "assistant\n"]
    for index, name in enumerate(_OBJECTS):
        other = _OBJECTS[(index + 7) % len(_OBJECTS)]
        texts += [ROBOT_QUESTION.format(instruction=task.format(a=name, b=other)) for task in _TASKS]
        texts += [question.format(a=name, b=other) for question in _QUESTIONS]
    return texts


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
