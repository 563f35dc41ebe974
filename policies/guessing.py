"""What an item would score if its question were answered without looking: the chance level of a benchmark's items.

A guess is the right answer to another item that is asked in the same form. Where the truth stands among the options
that the prompt offers, only what is offered there is guessed: of two named objects each is right half of the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from vst_vla.vla.benchmarks import Benchmark
from vst_vla.vla.benchmarks.base import Scored
from vst_vla.vla.benchmarks.item import Item

GUESSES = 20
"""Guesses at an answer that its prompt does not offer, such as a number."""


def guesses(benchmark: Benchmark, asked: Sequence[Scored]) -> list[float]:
    """The mean score of guessing, for each of one family's items; 0 where there is nothing to guess from."""
    return [_guess(benchmark, place, asked) for place in range(len(asked))]


def _guess(benchmark: Benchmark, place: int, asked: Sequence[Scored]) -> float:
    item = asked[place].item
    others = [entry.item for entry in (*asked[place + 1 :], *asked[:place]) if _form(entry.item) == _form(item)]
    answers = _offered(item, others) or list(islice((other.truth for other in others), GUESSES))
    scores = [benchmark.score(item, reply=answer).score for answer in answers]
    return sum(scores) / len(scores) if scores else 0.0


def _form(item: Item) -> tuple[str, ...]:
    return (*item.about["modes"], item.about["form"])


def _offered(item: Item, others: Sequence[Item]) -> list[str]:
    """The truth and whatever else is a truth of `others` and stands in the prompt's last part; none if it does not."""
    options = item.prompt.rpartition(":")[2]
    if not _stands(item.truth, options):
        options = item.prompt
    if not _stands(item.truth, options):
        return []
    return sorted(set(_standing([item, *others], options)))


def _standing(items: Sequence[Item], text: str) -> Iterator[str]:
    return (item.truth for item in items if _stands(item.truth, text))


def _stands(words: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None
