"""Answers of a backbone to questions about pictures, greedily, a batch at a time.

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vst_vla.vla.backbone import Backbone
from vst_vla.vla.contracts import Array
from vst_vla.vla.fov import FovTarget, fit_picture
from vst_vla.vla.prompt import record_messages, render


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question: text, with <image> where a picture belongs (before all text without), and its pictures (H,W,3)."""

    id: str
    prompt: str
    pictures: Sequence[Array]


class Answerer:
    """Generates replies.

    Args:
        backbone: model and processor; moved nowhere.
        thinking: ask for a reasoning before the answer.
        max_new_tokens: longest reply.
        max_pixels: budget of a picture; larger ones are made smaller.
    """

    def __init__(
        self, backbone: Backbone, *, thinking: bool = False, max_new_tokens: int = 512, max_pixels: int = 3_211_264
    ) -> None:
        self.model, self.processor = backbone.model.eval(), backbone.processor
        self._kind = "thought_mm_qa" if thinking else "mm_qa"
        self._max_new_tokens, self._target = max_new_tokens, FovTarget(max_pixels=max_pixels)

    @torch.no_grad()
    def answer(self, questions: Sequence[Asked]) -> list[str]:
        """One reply a question, without special tokens.

        Raises:
            ValueError: a question that marks another number of pictures than it has, by its id.
        """
        inputs = self._inputs(questions).to(self.model.device)
        length = inputs["input_ids"].shape[1]
        tokens = self.model.generate(**inputs, max_new_tokens=self._max_new_tokens, do_sample=False)
        replies: list[str] = self.processor.tokenizer.batch_decode(tokens[:, length:], skip_special_tokens=True)
        return [reply.strip() for reply in replies]

    def _inputs(self, questions: Sequence[Asked]) -> Any:
        """Left-padded token ids and patches."""
        texts = [self._text(question) for question in questions]
        given_pictures = [image for question in questions for image in question.pictures]
        pictures = [
            np.array(fit_picture(image, target=self._target)) for image in given_pictures
        ]  # torch wants its own
        given = {"images": pictures, "images_kwargs": {"do_resize": False}} if pictures else {}
        return self.processor(text=texts, **given, padding=True, padding_side="left", return_tensors="pt")

    def _text(self, question: Asked) -> str:
        turns = [{"from": "human", "value": question.prompt}]
        record = {"id": question.id, "conversations": turns, "images": question.pictures, "type": self._kind}
        return "".join(part.text for part in render(record_messages(record), add_generation_prompt=True))
