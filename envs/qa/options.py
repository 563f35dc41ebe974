"""Questions with lettered options, and fair draws among possible answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vst_vla.envs.qa.choices import Choices


def with_options(question: str, choices: Choices, *, short: bool) -> str:
    """The question followed by its options: a line each, or all on the question's own line for short prompts."""
    if short:
        return f"{question} {choices.line}."
    return f"{question}\n{choices.text}\nAnswer with the option's letter."


def fair_draw[Asked](cases: Sequence[tuple[str, Asked]], *, rng: np.random.Generator) -> tuple[str, Asked]:
    """One of several (answer, case) pairs: first an answer, each equally likely, then a case that has it."""
    answers = sorted({answer for answer, _ in cases})
    answer = answers[int(rng.integers(len(answers)))]
    matching = [case for found, case in cases if found == answer]
    return answer, matching[int(rng.integers(len(matching)))]
