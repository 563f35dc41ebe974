"""Multiple choice: options under letters, the right one under each letter equally often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LETTERS = "ABCDEF"
COMPASS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")
"""Eight directions, clockwise."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Options in the order in which they are read, and the letter of the right one."""

    options: tuple[str, ...]
    letter: str

    @property
    def text(self) -> str:
        """One option a line: A. the milk."""
        return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False))

    @property
    def line(self) -> str:
        """The same on one line, for short prompts: A the milk, B the butter."""
        return ", ".join(f"{letter} {option}" for letter, option in zip(LETTERS, self.options, strict=False))


def lettered(answer: str, *, others: Sequence[str], rng: np.random.Generator) -> Choices:
    """The answer among its distractors, in random order, each place equally likely.

    Args:
        answer: the right option.
        others: one to five distractors, none of them the answer.
        rng: of the order.
    """
    assert answer not in others, f"'{answer}' is a distractor of itself"
    assert len(set(others)) == len(others) < len(LETTERS), others
    place = int(rng.integers(len(others) + 1))
    rest = [others[int(i)] for i in rng.permutation(len(others))]
    return Choices(options=(*rest[:place], answer, *rest[place:]), letter=LETTERS[place])


def some(values: Sequence[str], *, count: int, without: str, rng: np.random.Generator) -> list[str]:
    """At most `count` of the values at random, the right answer not among them: distractors for `lettered`."""
    others = [value for value in values if value != without]
    return [others[int(i)] for i in rng.permutation(len(others))[:count]]
