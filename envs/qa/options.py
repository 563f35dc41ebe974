"""Questions with lettered options, and fair draws among possible answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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


TRIES = 8
"""Random sets of rivals among which a contest is looked for."""


@dataclass(frozen=True, kw_only=True)
class Contest[Asked]:
    """Rivals of which each comes first in some case, and one of the cases."""

    winner: str
    others: tuple[str, ...]  # by their places, best first
    case: Asked


def fair_contest[Asked](
    cases: Sequence[tuple[Asked, Mapping[str, float]]], *, most: int, lead: float, rng: np.random.Generator
) -> Contest[Asked] | None:
    """Two or more rivals, each equally likely to come first, so that their names tell nothing.

    A rival that comes first in none of the cases among these rivals (the basket that is never nearest) is left out.

    Args:
        cases: what can be asked about, each with the distance of every rival that takes part.
        most: number of rivals at most.
        lead: by which the first one's distance has to be smaller than any other's.
        rng: of the draws.
    """
    names = sorted({name for _, distances in cases for name in distances})
    if len(names) < 2:
        return None
    wanted, best = int(rng.integers(2, most + 1)), list[tuple[str, tuple[Asked, Mapping[str, float]]]]()
    for attempt in range(TRIES):  # every other time one more, since those that win nowhere fall away
        rivals = {names[int(place)] for place in rng.permutation(len(names))[: wanted + attempt % 2]}
        won = _won(cases, rivals, lead)
        while (winners := {name for name, _ in won}) != rivals:
            rivals, won = winners, _won(cases, winners, lead)
        if _count(best) < len(rivals) <= wanted:
            best = won
        if len(rivals) == wanted:
            break
    if not best:
        return None
    winner, (asked, distances) = fair_draw(best, rng=rng)
    others = {name for name, _ in best} - {winner}
    return Contest(winner=winner, others=tuple(sorted(others, key=lambda name: distances[name])), case=asked)


def _count(won: Sequence[tuple[str, object]]) -> int:
    return len({name for name, _ in won})


def _won[Case: tuple[object, Mapping[str, float]]](
    cases: Sequence[Case], rivals: set[str], lead: float
) -> list[tuple[str, Case]]:
    """Who comes first in each case in which all rivals take part; none of fewer than two."""
    found = [(_first(case[1], rivals, lead), case) for case in cases if len(rivals) > 1]
    return [(name, case) for name, case in found if name is not None]


def _first(distances: Mapping[str, float], rivals: Iterable[str], lead: float) -> str | None:
    """The rival with the smallest distance; None when one is missing or the lead is too small."""
    if any(name not in distances for name in rivals):
        return None
    first, second, *_ = sorted(rivals, key=lambda name: distances[name])
    return first if distances[second] - distances[first] >= lead else None
