"""Numbers that may be off by a twentieth; any other text word for word."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from vst_vla.vla.tasks.base import Task
from vst_vla.vla.tasks.quantities import PLAIN

TOLERANCE = 0.05
_YEAR = re.compile(r"20\d\d")


@dataclass(frozen=True, kw_only=True)
class Relaxed(Task[str]):
    """A number, with % or without, or a text.

    ChartQA's relaxed accuracy (Masry et al., arXiv 2203.10244) as VST rewards it: 1 for a number within 5 % of the
    truth, and for any other text when both are equal without case. A year, 20xx, must be met exactly.
    """

    name: ClassVar[str] = "relaxed_score"
    answers: ClassVar[str] = "a number or a text"

    def _read(self, text: str) -> str | None:
        return text.strip().lower() or None

    def compare(self, answer: str, *, truth: str) -> float:
        """1 within the tolerance, or for equal texts."""
        said, true = _number(answer), _number(truth)
        if said is None or true is None or _YEAR.fullmatch(truth):
            return float(answer == truth)
        return float(abs(said - true) <= TOLERANCE * abs(true))


def _number(text: str) -> float | None:
    bare = text.removesuffix("%").strip()
    if not PLAIN.fullmatch(bare):
        return None
    value = float(bare) / (100 if text.endswith("%") else 1)
    return value if math.isfinite(value) else None
