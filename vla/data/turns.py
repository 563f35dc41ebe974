"""The turns of an encoded conversation: where answers are said, and which names their questions hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vst_vla.vla.contracts import Array
from vst_vla.vla.geometry.recall import MOST, WORDS
from vst_vla.vla.prompt import IGNORED, Encoded

ASIDE = 4
"""Tokens within which a second name of the same thing follows the first: "the red-point plate"."""


def asked_names(row: Encoded, named: Sequence[tuple[int, Array]], *, header: int) -> Iterator[tuple[int, list[int]]]:
    """Of each turn that names something: every place that one of its answer's first `WORDS` tokens is predicted from,
    with `MOST` numbers.

    Those are the names' in the order of the question, a thing with two names by the first; -1 where there are no more.

    Args:
        row: the conversation.
        named: of each name the place of its last token, and the cells that show what it means.
        header: tokens of an assistant's turn before its first word.
    """
    ordered = sorted(range(len(named)), key=lambda number: named[number][0])
    before = 0
    for start, end in _answers(row):
        kept: list[int] = []
        for number in ordered:
            if before <= named[number][0] < start and not (kept and _is_aside(named[kept[-1]], named[number])):
                kept.append(number)
        before = start
        if kept:
            numbers, first = [*kept, *[-1] * MOST][:MOST], start + header - 1
            yield from ((place, numbers) for place in range(first, min(first + WORDS, end - 1)))


def _answers(row: Encoded) -> Iterator[tuple[int, int]]:
    """Where the assistant's turns begin, with their header, and one past where they end."""
    told = np.array([0, *(label != IGNORED for label in row.labels), 0])
    begins, ends = (np.flatnonzero(np.diff(told) == step).tolist() for step in (1, -1))
    return zip(begins, ends, strict=True)


def _is_aside(first: tuple[int, Array], second: tuple[int, Array]) -> bool:
    """Whether the second name only says again what the first has meant."""
    return second[0] - first[0] <= ASIDE and bool(np.isin(first[1], second[1]).any())
