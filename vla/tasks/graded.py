"""Numbers that are worth more the closer they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.vla.tasks.base import Task
from vst_vla.vla.tasks.quantities import Quantity, first_quantity

THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, kw_only=True)
class Graded(Task[Quantity]):
    """A number, with a unit of length or without.

    Mean relative accuracy of VSI-Bench (Yang et al., arXiv 2412.14171): over the thresholds 0.50, 0.55, …, 0.95, how
    often the relative error is at most 1 - threshold. The first number of a reply counts, in digits or in letters;
    where both it and the truth have a unit, it is converted.
    """

    name: ClassVar[str] = "mra_score"
    answers: ClassVar[str] = "a number"

    def _read(self, text: str) -> Quantity | None:
        return first_quantity(text)

    def compare(self, answer: Quantity, *, truth: Quantity) -> float:
        """The mean relative accuracy; of a truth of 0, whether it was met."""
        error = abs(answer.in_unit_of(truth) - truth.value)
        if truth.value == 0:
            return float(error == 0)
        return float(np.mean(error / abs(truth.value) <= 1 - THRESHOLDS))
