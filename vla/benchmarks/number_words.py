"""The number that a text says first, in digits or in words: how lmms-eval reads the answers of VSI-Bench."""

from __future__ import annotations

import re

from vst_vla.vla.tasks.quantities import NUMBER_WORDS, first_quantity

_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate(NUMBER_WORDS)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_SCALES = {"hundred": 100, "thousand": 1000}
_WORD = rf"(?:{'|'.join([*_VALUES, *_SCALES])})"
_WORDS = re.compile(rf"\b{_WORD}\b(?:(?:\s+and\s+|[\s-]+){_WORD}\b)*", re.IGNORECASE)


def first_number(text: str) -> float | None:
    """The first number, such as 3.5, 1,200, three or three hundred and twenty-one; None without a finite one."""
    words = _WORDS.search(text)
    digits = first_quantity(text if words is None else text[: words.start()])
    if digits is not None:
        return digits.value
    return None if words is None else float(_value(re.findall(r"[a-z]+", words.group().lower())))


def _value(words: list[str]) -> int:
    """What the words of one number come to."""
    total, part = 0, 0
    for word in words:
        if word == "thousand":
            total, part = total + max(part, 1) * 1000, 0
        elif word == "hundred":
            part = max(part, 1) * 100
        else:
            part += _VALUES.get(word, 0)  # "and" adds nothing
    return total + part
