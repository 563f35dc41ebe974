"""Which answers a program can check, and by which of VST's rewards."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vst_vla.vla.fov import BOX_TYPE

MAX_WORDS = 6
"""Longest answer that is compared word by word."""

_LETTER = re.compile(r"\(?[A-H]\)?(?:[.:]\s.*)?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?: ?[a-z]{1,11})?")
_ORDER = re.compile(r"[A-H](?:, ?[A-H])+")


@dataclass(frozen=True, kw_only=True)
class Verifiable:
    """An answer to compare a model's with."""

    answer: str  # without reasoning
    modes: tuple[str, ...]  # names of VST's rewards, of which the best counts
    question_type: str


def verifiable(answer: str, *, kind: str) -> Verifiable | None:
    """How to check an answer; None for free text, which no reward of VST's compares fairly.

    The modes are those of VST's reinforcement stage (https://github.com/Yangr116/VST): boxes by matched overlap, a
    letter by itself, a number within 5 % (with a unit, and an order of letters: the same text), other short answers
    word by word.

    Args:
        answer: with or without `<think>…</think>` before it.
        kind: the record's type.
    """
    answer = answer.rpartition("</think>")[2].strip()
    if BOX_TYPE in kind:
        return Verifiable(answer=answer, modes=("bbox3d",), question_type="bbox_3d")
    if _LETTER.fullmatch(answer):
        return Verifiable(answer=answer, modes=("multi_choices_score",), question_type="multi_choices")
    if _NUMBER.fullmatch(answer):
        return Verifiable(answer=answer, modes=("relaxed_score",), question_type="number")
    if _ORDER.fullmatch(answer):
        return Verifiable(answer=answer, modes=("relaxed_score",), question_type="order")
    if answer and len(answer.split()) <= MAX_WORDS:
        return Verifiable(answer=answer, modes=("vqa_score",), question_type="words")
    return None
