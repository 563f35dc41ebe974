"""A task's goal as steps in an order in which they can be reached, with what they need first.

Drawers and doors are opened wide before anything goes in, and closed when everything is in; what carries something else
is placed before it. The steps are looked at anew all the time, so what came undone is repaired.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.articulation import RANGES, is_ajar, joint_names, wanted_range
from vst_vla.policies.expert.goal import PLACEMENTS, Goal
from vst_vla.vla.contracts import unknown_name

_RANKS = {"turnon": 1, "turnoff": 1, "open": 2, "in": 3, "on": 3}
_CLOSE_EMPTY, _CLOSE_FILLED = 0, 4
"""A drawer into which nothing goes is closed first, so that it is in nobody's way."""
WIDEN = "widen"
"""The expert's own predicate: a drawer is out as far as it goes, since what is above it leaves little room."""


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

    Raises:
        ValueError: for a name that the scene does not have, or a thing that cannot be moved as the goal asks.
    """
    problem = simulator.problem
    names = [*problem.objects_dict, *problem.fixtures_dict, *problem.object_sites_dict]
    for goal in goals:
        for name in goal.arguments:
            if name not in names:
                raise unknown_name(f"thing in the goal {goal}", name, names)
        if goal.predicate in RANGES:
            wanted_range(simulator, goal.arguments[0], predicate=goal.predicate)
    lids = {goal: lid_of(simulator, goal.arguments[1]) for goal in goals if goal.predicate == "in"}
    known = {goal: lid for goal, lid in lids.items() if lid is not None}
    ajar = {lid for lid in known.values() if simulator.holds(("open", lid)) and is_ajar(simulator, lid)}
    return steps_to(goals, lids=known, ajar=ajar)


def steps_to(goals: Sequence[Goal], *, lids: Mapping[Goal, str], ajar: Collection[str] = ()) -> list[Step]:
    """The steps in their order, with an opening before each placement that needs one.

    Args:
        goals: the conjunction.
        lids: what has to be open for a placement: a drawer, or a fixture with a door.
        ajar: those that are open, though not to their stop; what is opened here is opened wide anyway.
    """
    steps: list[Step] = []
    for goal in order(goals, filled=set(lids.values())):
        if goal in lids:
            names = ("open", WIDEN) if lids[goal] in ajar else ("open",)
            steps += [Step(goal=Goal(predicate=name, arguments=(lids[goal],)), serves=goal) for name in names]
        steps.append(Step(goal=goal))
    return steps


def order(goals: Sequence[Goal], *, filled: Collection[str] = ()) -> list[Goal]:
    """The goals as they can be reached one after another; goals that do not depend on each other keep their order.

    Args:
        goals: the conjunction.
        filled: drawers and fixtures into which a goal puts something.
    """

    def rank(goal: Goal) -> int:
        if goal.predicate == "close":
            return _CLOSE_FILLED if goal.arguments[0] in filled else _CLOSE_EMPTY
        return _RANKS[goal.predicate]

    return sorted(goals, key=lambda goal: (rank(goal), _height(goal, goals)))


def lid_of(simulator: Simulator, region: str) -> str | None:
    """What has to be open before a thing can go into a region: the region (a drawer), its fixture (a door), or None."""
    site = simulator.problem.object_sites_dict.get(region)
    candidates = [] if site is None else [region, site.parent_name]
    jointed = [name for name in candidates if joint_names(simulator, name)]
    return next((name for name in jointed if _can(simulator, name, "open")), None)


def _height(goal: Goal, goals: Sequence[Goal]) -> int:
    """How many of the goals' placements lie below this one's: the bowl comes before the cheese that goes into it."""
    if goal.predicate not in PLACEMENTS:
        return 0
    others = [g for g in goals if g != goal and g.predicate in PLACEMENTS]
    below = [g for g in others if g.arguments[0] == goal.arguments[1]]
    return 1 + max(_height(g, others) for g in below) if below else 0


def _can(simulator: Simulator, name: str, predicate: str) -> bool:
    assert predicate in RANGES
    try:
        wanted_range(simulator, name, predicate=predicate)
    except ValueError:
        return False
    return True


def _holds(simulator: Simulator, goal: Goal) -> bool:
    if goal.predicate == WIDEN:
        return not is_ajar(simulator, goal.arguments[0])
    return simulator.holds((goal.predicate, *goal.arguments))
