"""Words for names, lists, numbers and variants of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNITS = {"m": ("meters", 1.0, 2), "cm": ("centimeters", 100.0, 0)}
"""Unit -> its word, how many go into a metre, decimals of an answer in it."""

NAME_WANTED = "Answer with the object's name as it stands here."
"""Behind a question whose answer is one of the names in it; a point that comes with a name is part of it."""


def choose(variants: Sequence[str], *, rng: np.random.Generator, short: bool = False) -> str:
    """One of several wordings; a short prompt always takes the first, which is the plainest."""
    return variants[0] if short else variants[int(rng.integers(len(variants)))]


def spoken_list(names: Sequence[str]) -> str:
    """Names in a sentence: the milk, the butter and the basket."""
    return joined([f"the {name}" for name in names])


def joined(phrases: Sequence[str], *, word: str = "and") -> str:
    """Phrases in a sentence: a, b and c."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} {word} {phrases[-1]}"


def length_text(metres: float, *, unit: str) -> str:
    """A length as an answer gives it, such as 0.71 m or 71 cm."""
    _, factor, decimals = UNITS[unit]
    return f"{metres * factor:.{decimals}f} {unit}"


def degrees_text(degrees: int) -> str:
    """A whole number of degrees."""
    return f"{degrees} degree" if degrees == 1 else f"{degrees} degrees"


def unit_sentence(unit: str) -> str:
    """Asks for a number with its unit."""
    return f"Answer in {UNITS[unit][0]}, as a number and its unit."
