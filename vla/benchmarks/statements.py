"""What free sentences say, by rule: yes or no, an hour of the clock, a length.

For benchmarks whose official judge is a language model and which are scored here without one.
"""

from __future__ import annotations

import re

from vst_vla.vla.tasks.quantities import Quantity, first_quantity

LOW, HIGH = 0.75, 1.25
_CLOCK = re.compile(r"\b(1[0-2]|[1-9])\s*o['’]?\s*clock", re.IGNORECASE)
_YES = re.compile(r"\b(yes|correct|indeed|true)\b", re.IGNORECASE)
_NO = re.compile(r"\b(no|not|incorrect|false)\b", re.IGNORECASE)
_CONTRADICTION = re.compile(r"\s*(in fact|actually)\b", re.IGNORECASE)


def yes_or_no(text: str) -> str | None:
    """Which of the two a sentence says first; "In fact, …" and "Actually, …" alone contradict the question."""
    yes, no = _YES.search(text), _NO.search(text)
    if yes and no:
        return "yes" if yes.start() < no.start() else "no"
    if yes or no:
        return "yes" if yes else "no"
    return "no" if _CONTRADICTION.match(text) else None


def clock_hour(text: str) -> int | None:
    """The hour of "at 3 o'clock", 1 to 12."""
    found = _CLOCK.search(text)
    return int(found.group(1)) if found else None


def length_in_metres(text: str) -> str | None:
    """The first number, in metres where it has a unit of length."""
    found = first_quantity(text)
    return None if found is None else f"{found.in_unit_of(Quantity(1, 1.0)):.6g}"


def near_hour(said: float, *, true: float) -> float:
    """1 for directions at most an hour apart, round the clock."""
    apart = abs(said - true) % 12
    return float(min(apart, 12 - apart) <= 1)


def near_length(said: float, *, true: float) -> float:
    """1 within 25 % (SpatialRGPT-Bench, Cheng et al., arXiv 2406.01584)."""
    return float(LOW * true <= said <= HIGH * true)
