"""Multiple choice: a letter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from vst_vla.vla.tasks.base import Task

_LETTER = re.compile(r"(?<!\w)([A-F])(?![\w'’])(?!\s+\w)")


@dataclass(frozen=True, kw_only=True)
class Choice(Task[str]):
    """A letter from A to F, alone or before its option's text.

    Read as by VST (https://github.com/Yangr116/VST): the first capital that stands alone and is not followed by a word,
    so that "A cup" is an article and "B. A cup" is B.
    """

    name: ClassVar[str] = "multi_choices_score"
    answers: ClassVar[str] = "a letter from A to F"

    def _read(self, text: str) -> str | None:
        found = _LETTER.search(text)
        return found.group(1) if found else None

    def compare(self, answer: str, *, truth: str) -> float:
        """1 for the same letter."""
        return float(answer == truth)
