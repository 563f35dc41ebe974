"""What every benchmark is: where its questions come from, how they are asked, and how answers are scored.

A benchmark is one file here, one line in `__init__` and one yaml in `configs/benchmark`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.item import Item
from vst_vla.vla.prompt import split_reply

LETTER_PROMPT = "Answer with the option's letter from the given choices directly."
WORD_PROMPT = "Please answer the question using a single word or phrase."
LETTERS = "ABCDEFGH"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One item with what was answered."""

    item: Item  # without its pictures
    reply: str
    answer: str | None  # as read; None when it cannot be
    score: float  # in [0, 1]

    @property
    def group(self) -> str:
        """What is drawn together when an interval is estimated."""
        return self.item.group or self.item.id


@dataclass(frozen=True, kw_only=True)
class Benchmark(ABC):
    """One benchmark; its options are the dataclass fields."""

    name: ClassVar[str]
    about: ClassVar[str]
    """One line for the report: rules, and where they are not the benchmark's own."""
    resampled: ClassVar[bool] = True
    """Whether its headline is cheap enough to compute some hundred times for an interval."""

    @abstractmethod
    def items(self, folder: Path) -> Iterator[Item]:
        """Every question of a local copy of the published files.

        Raises:
            ValueError: files or columns that are missing, by name.
        """

    @abstractmethod
    def read(self, answer: str, *, item: Item) -> str | None:
        """What an answer without reasoning says, in plain text; None when it cannot be read."""

    def compare(self, answer: str, *, item: Item) -> float:
        """How good what was read is, in [0, 1]: by default, whether it is the truth."""
        return float(answer == item.truth)

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """The benchmark's numbers in [0, 1], the headline first: by default the mean over all items."""
        return {"accuracy": mean(scored)}

    def score(self, item: Item, *, reply: str) -> Scored:
        """Scores one reply. Its reasoning is put aside first; what cannot be read is worth 0."""
        answer = self.read(split_reply(reply).answer, item=item)
        worth = 0.0 if answer is None else self.compare(answer, item=item)
        return Scored(item=item, reply=reply, answer=answer, score=worth)


def mean(scored: Iterable[Scored]) -> float:
    """Mean score; NaN of none, so that a missing part is never taken for a bad one."""
    scores = [entry.score for entry in scored]
    return sum(scores) / len(scores) if scores else float("nan")


def by_category(scored: Iterable[Scored]) -> dict[str, list[Scored]]:
    """Items by category, in order of first appearance."""
    found: dict[str, list[Scored]] = {}
    for entry in scored:
        found.setdefault(entry.item.category, []).append(entry)
    return found


def all_right(scored: Iterable[Scored], *, key: Mapping[str, str]) -> float:
    """Share of groups in which every item is right; `key` gives each item's group by its id."""
    groups: dict[str, bool] = {}
    for entry in scored:
        name = key[entry.item.id]
        groups[name] = groups.get(name, True) and entry.score == 1.0
    return sum(groups.values()) / len(groups) if groups else float("nan")


def lettered(options: Sequence[object], *, mark: str = ".") -> str:
    """Options one a line, as "A. text"."""
    return "\n".join(f"{letter}{mark} {option}" for letter, option in zip(LETTERS, options, strict=False))
