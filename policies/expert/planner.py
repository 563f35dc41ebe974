"""A task's goal as steps in an order in which they can be reached, with what they need first.

Drawers and doors are opened before anything goes in, and closed when everything is in; what carries something else is
placed before it. The steps are looked at anew all the time, so what came undone is repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.articulation import RANGES, joint_names, wanted_range
from vst_vla.policies.expert.goal import Goal

_RANKS = {"open": 0, "turnon": 1, "turnoff": 1, "in": 2, "on": 2, "close": 3}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One sub-goal. With `serves`, it is wanted only until that goal holds: a lid that is in the way of a placement."""

    goal: Goal
    serves: Goal | None = None

    def is_pending(self, simulator: Simulator) -> bool:
        """Whether something is left to do."""
        if self.serves is not None and _holds(simulator, self.serves):
            return False
        return not _holds(simulator, self.goal)


def plan_steps(simulator: Simulator, goals: Sequence[Goal]) -> list[Step]:
    """The steps to a conjunction of goals; the first one that is pending is the one to pursue.

    Args:
        simulator: the scene.
        goals: as `parse_goals` gives them.
    """
    steps: list[Step] = []
    for goal in order(goals):
        lid = lid_of(simulator, goal.arguments[1]) if goal.predicate == "in" else None
        if lid is not None:
            steps.append(Step(goal=Goal(predicate="open", arguments=(lid,)), serves=goal))
        steps.append(Step(goal=goal))
    return steps


def order(goals: Sequence[Goal]) -> list[Goal]:
    """The goals as they can be reached one after another; goals that do not depend on each other keep their order."""
    return sorted(goals, key=lambda goal: (_RANKS[goal.predicate], _height(goal, goals)))


def lid_of(simulator: Simulator, region: str) -> str | None:
    """What has to be open before a thing can go into a region: the region (a drawer), its fixture (a door), or None."""
    site = simulator.problem.object_sites_dict.get(region)
    candidates = [] if site is None else [region, site.parent_name]
    jointed = [name for name in candidates if joint_names(simulator, name)]
    return next((name for name in jointed if _can(simulator, name, "open")), None)


def _height(goal: Goal, goals: Sequence[Goal]) -> int:
    """How many of the goals' placements lie below this one's: the bowl comes before the cheese that goes into it."""
    below = [g for g in goals if len(goal.arguments) == 2 and g.arguments[0] == goal.arguments[1] and g != goal]
    others = [g for g in goals if g != goal]
    return 1 + max(_height(g, others) for g in below) if below else 0


def _can(simulator: Simulator, name: str, predicate: str) -> bool:
    assert predicate in RANGES
    try:
        wanted_range(simulator, name, predicate=predicate)
    except ValueError:
        return False
    return True


def _holds(simulator: Simulator, goal: Goal) -> bool:
    return simulator.holds((goal.predicate, *goal.arguments))
