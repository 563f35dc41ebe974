"""A task's goal as a list of sub-goals, out of the BDDL file that LIBERO parsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vst_vla.vla.contracts import near_miss

PLACEMENTS = ("in", "on")
"""Predicates about an item and where it belongs; all others are about one thing."""
OPPOSITES = {"open": "close", "close": "open", "turnon": "turnoff", "turnoff": "turnon"}


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One clause of a BDDL goal, such as `in(alphabet_soup_1, basket_1_contain_region)`."""

    predicate: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.predicate}({', '.join(self.arguments)})"


def parse_goals(clauses: Sequence[Sequence[str]], *, predicates: Sequence[str]) -> list[Goal]:
    """The clauses of `problem.parsed_problem["goal_state"]`, in their order, each once.

    Args:
        clauses: predicate and arguments of each clause; the goal is their conjunction.
        predicates: the predicates for which the expert has a skill.

    Raises:
        ValueError: for a predicate without a skill, a wrong number of arguments, or clauses that exclude each other.
    """
    goals = list(dict.fromkeys(Goal(predicate=name.lower(), arguments=tuple(rest)) for name, *rest in clauses))
    for goal in goals:
        if goal.predicate not in predicates:
            raise ValueError(
                f"the scripted expert has no skill for {goal}: {near_miss(goal.predicate, predicates)}; "
                "pick a task whose goal uses these only"
            )
        width = 2 if goal.predicate in PLACEMENTS else 1
        if len(goal.arguments) != width or len(set(goal.arguments)) != width:
            raise ValueError(f"{goal} is no goal: {goal.predicate} takes {width} different name(s)")
        opposite = Goal(predicate=OPPOSITES.get(goal.predicate, ""), arguments=goal.arguments)
        if opposite in goals:
            raise ValueError(f"{goal} and {opposite} cannot both hold: leave out one")
    return goals
