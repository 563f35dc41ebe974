"""Chat messages: from an instruction, a question or a spatial record; to ChatML text, token ids and loss masks.

A message is {"role": ..., "content": [{"type": "image"} | {"type": "text", "text": ...}, ...]}, the form that
transformers' chat templates take. Rendering happens here as well as in the template, because only here is it known
which characters are a target: the whole assistant message, its role header and its end token included, as VST trains.
Letters in shapes: L tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]

IGNORED = -100
IMAGE_TOKEN = "<|image_pad|>"
VIDEO_TOKEN = "<|video_pad|>"
MESSAGE_END = "<|im_end|>"
ANSWER_HEADER = "<|im_start|>assistant\n"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
SYSTEM_PROMPT = "You are a helpful assistant."
THINKING_PROMPT = (
    f"{SYSTEM_PROMPT} Reason about the question first, inside <think> </think> tags, "
    "and then give the answer after the closing tag."
)
ROBOT_QUESTION = "What action should the robot take to {instruction}?"

_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
_IMAGE_MARKER = re.compile(r"(?:<\|vision_start\|>)?<\|image_pad\|>(?:<\|vision_end\|>)?\n?")
_PLAIN_MARKER = re.compile(r"<image>\n?")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of rendered text that is wholly a training target or wholly not."""

    text: str
    is_target: bool


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One conversation as token ids, each list L long; labels are -100 where nothing is to be predicted."""

    input_ids: list[int]
    labels: list[int]
    mm_token_type_ids: list[int]  # 1 on image tokens, 0 on text


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A model's reply: its reasoning, None when it gave none, and the answer after it."""

    think: str | None
    answer: str


def robot_messages(instruction: str, *, num_images: int) -> list[Message]:
    """The policy's prompt: every camera, then OpenVLA's question in lower case; no system turn (as VST's VLA stage)."""
    question = ROBOT_QUESTION.format(instruction=instruction.strip().lower())
    return [_message("user", [*_images(num_images), _text(question)])]


def question_messages(question: str, *, num_images: int, thinking: bool = False) -> list[Message]:
    """A question to the backbone, images first, under the default or the thinking system prompt."""
    system = THINKING_PROMPT if thinking else SYSTEM_PROMPT
    return [_message("system", [_text(system)]), _message("user", [*_images(num_images), _text(question)])]


def record_messages(record: Mapping[str, Any]) -> list[Message]:
    """The conversation of one record in VST's parquet format.

    Images sit where the text says `<|image_pad|>` (or `<image>`); with neither, all of them precede the first question.
    A record whose `type` contains "thought" gets the thinking system prompt.

    Raises:
        ValueError: no conversation, an unknown speaker, a video, or another number of markers than images.
    """
    name = record.get("id", "?")
    turns = record.get("conversations")
    if turns is None or len(turns) == 0:
        raise ValueError(f"record '{name}' has no conversations: expected a list of {{from, value}}")
    images = record.get("images")
    num_images = 0 if images is None else len(images)
    values = _place_markers([turn["value"] for turn in turns], num_images=num_images, name=str(name))
    messages = [_message(_role(turn["from"], name), _split(value)) for turn, value in zip(turns, values, strict=True)]
    if messages[0]["role"] != "system":
        system = THINKING_PROMPT if "thought" in (record.get("type") or "") else SYSTEM_PROMPT
        messages.insert(0, _message("system", [_text(system)]))
    return messages


def render(messages: Sequence[Message], *, add_generation_prompt: bool = False) -> list[Segment]:
    """ChatML text in segments; joined, they equal the chat template's output for a conversation with a system turn."""
    segments = []
    for message in messages:
        body = "".join(_content_text(part) for part in message["content"])
        text = f"<|im_start|>{message['role']}\n{body}{MESSAGE_END}"
        segments.append(Segment(text=text, is_target=message["role"] == "assistant"))
        segments.append(Segment(text="\n", is_target=False))
    if add_generation_prompt:
        segments.append(Segment(text=ANSWER_HEADER, is_target=False))
    return segments


def encode(
    messages: Sequence[Message],
    *,
    tokenizer: PreTrainedTokenizerBase,
    image_tokens: Sequence[int],
    add_generation_prompt: bool = False,
) -> Encoded:
    """Token ids, labels and modality of a conversation; `image_tokens[i]` is the number of visual tokens of image i.

    Raises:
        ValueError: another number of images in the messages than in `image_tokens`.
    """
    counts = iter(image_tokens)
    input_ids: list[int] = []
    labels: list[int] = []
    for segment in render(messages, add_generation_prompt=add_generation_prompt):
        ids = tokenizer.encode(_expand(segment.text, counts), add_special_tokens=False)
        input_ids += ids
        labels += ids if segment.is_target else [IGNORED] * len(ids)
    if next(counts, None) is not None:
        raise ValueError(f"{len(image_tokens)} images given, but the messages place fewer: add image parts to them")
    image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    return Encoded(input_ids=input_ids, labels=labels, mm_token_type_ids=[int(i == image_id) for i in input_ids])


def split_reply(text: str) -> Reply:
    """Separates <think>...</think> from the answer; reasoning that never closes leaves an empty answer."""
    head, closing, tail = text.rpartition("</think>")
    if closing:
        return Reply(think=head.partition("<think>")[2].strip() or head.strip(), answer=tail.strip())
    before, opening, rest = text.partition("<think>")
    if opening:
        return Reply(think=rest.strip(), answer=before.strip())
    return Reply(think=None, answer=text.strip())


def _message(role: str, content: list[dict[str, str]]) -> Message:
    return {"role": role, "content": content}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _images(count: int) -> list[dict[str, str]]:
    return [{"type": "image"} for _ in range(count)]


def _role(speaker: str, name: object) -> str:
    if speaker not in _ROLES:
        raise ValueError(f"record '{name}' has speaker '{speaker}': choices: {', '.join(_ROLES)}")
    return _ROLES[speaker]


def _place_markers(values: Sequence[str], *, num_images: int, name: str) -> list[str]:
    """The turns' texts with exactly `num_images` bare image tokens among them."""
    if any(VIDEO_TOKEN in value for value in values):
        raise ValueError(f"record '{name}' holds a video, expected images: leave video records out of the mixture")
    if any(IMAGE_TOKEN in value for value in values):
        values = [_PLAIN_MARKER.sub("", value) for value in values]
        values = [_IMAGE_MARKER.sub(IMAGE_TOKEN, value) for value in values]
    else:
        values = [_PLAIN_MARKER.sub(IMAGE_TOKEN, value) for value in values]
    found = sum(value.count(IMAGE_TOKEN) for value in values)
    if found == 0:
        return [IMAGE_TOKEN * num_images + values[0], *values[1:]]
    if found != num_images:
        raise ValueError(
            f"record '{name}' marks {found} images in its text but carries {num_images}: repair the record"
        )
    return list(values)


def _split(value: str) -> list[dict[str, str]]:
    """One turn's text as image and text parts in order."""
    parts: list[dict[str, str]] = []
    for index, piece in enumerate(value.split(IMAGE_TOKEN)):
        parts += _images(1 if index else 0)
        parts += [_text(piece)] if piece else []
    return parts


def _content_text(part: Mapping[str, str]) -> str:
    return f"{VISION_START}{IMAGE_TOKEN}{VISION_END}" if part["type"] == "image" else part["text"]


def _expand(text: str, counts: Any) -> str:
    """Repeats each image token as often as the next count says."""
    pieces = text.split(IMAGE_TOKEN)
    for index in range(1, len(pieces)):
        count = next(counts, None)
        if count is None:
            raise ValueError("the messages place more images than were given: pass one token count an image")
        pieces[index] = IMAGE_TOKEN * count + pieces[index]
    return "".join(pieces)
