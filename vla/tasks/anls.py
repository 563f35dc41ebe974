"""Text as read in a picture: the score falls with the edits that lead to the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vst_vla.vla.tasks.base import Task

THRESHOLD = 0.5
"""Similarity below which an answer is another answer, not a misspelt one (arXiv 1905.13648)."""


@dataclass(frozen=True, kw_only=True)
class Spelling(Task[str]):
    """Any text.

    ANLS (Biten et al., arXiv 1905.13648): 1 - edits / longer length, and 0 below one half. VST's released reward of
    this name pays the edits themselves, so that worse answers earn more; this one goes the right way.
    """

    name: ClassVar[str] = "anls_score"
    answers: ClassVar[str] = "a text"

    def _read(self, text: str) -> str | None:
        return " ".join(text.lower().split()) or None

    def compare(self, answer: str, *, truth: str) -> float:
        """The similarity, or 0 below `THRESHOLD`."""
        shorter, longer = sorted((len(answer), len(truth)))
        if shorter < THRESHOLD * longer:
            return 0.0
        similarity = 1 - edit_distance(answer, truth) / longer
        return similarity if similarity >= THRESHOLD else 0.0


def edit_distance(first: str, second: str) -> int:
    """Fewest insertions, deletions and substitutions of characters between two texts (Levenshtein)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]
