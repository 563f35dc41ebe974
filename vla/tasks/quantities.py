"""Numbers in words of a reply: digits or number words, with or without a unit of length."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_METRES = {
    "mm": 0.001, "millimeter": 0.001, "millimetre": 0.001,
    "cm": 0.01, "centimeter": 0.01, "centimetre": 0.01,
    "m": 1.0, "meter": 1.0, "metre": 1.0,
    "km": 1000.0, "kilometer": 1000.0, "kilometre": 1000.0,
    "in": 0.0254, "inch": 0.0254, "inche": 0.0254, '"': 0.0254,
    "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "'": 0.3048,
    "yd": 0.9144, "yard": 0.9144,
}  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?(?![\d])")
_WORD = re.compile(rf"\b(?:{'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
_UNIT = re.compile(r"\s*([a-zA-Z]+|[\"'])")
PLAIN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
"""A number and nothing else."""


class Quantity(NamedTuple):
    """A number as it was said."""

    value: float
    metres: float | None  # how long one of its unit is, None without a unit of length

    def in_unit_of(self, other: Quantity) -> float:
        """The value in the other's unit; as it stands where one of the two has none."""
        if self.metres is None or other.metres is None:
            return self.value
        return self.value * self.metres / other.metres


def first_quantity(text: str) -> Quantity | None:
    """The first number of a text; None without a finite one. Digits come before number words (zero to twenty)."""
    found = _NUMBER.search(text)
    if found is None:
        word = _WORD.search(text)
        return (
            None if word is None else Quantity(float(NUMBER_WORDS.index(word.group().lower())), _unit(text, word.end()))
        )
    value = float(found.group().replace(",", ""))
    return Quantity(value, _unit(text, found.end())) if math.isfinite(value) else None


def _unit(text: str, start: int) -> float | None:
    found = _UNIT.match(text, start)
    if found is None:
        return None
    word = found.group(1)
    return _METRES.get(word.lower(), _METRES.get(word.lower().removesuffix("s")))
