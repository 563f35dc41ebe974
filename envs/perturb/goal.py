"""The goal axis: another BDDL goal about the same scene's objects, said in a sentence of LIBERO's pattern.

What may be asked follows LIBERO's own goals: which kinds it puts on or into which, widened to kinds alike. A strength
of at most 0.5 keeps one of the things that the official goal is about; above, everything may change. Success is then
judged by the new goal, by LIBERO's predicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import combinations
from typing import Any

import numpy as np

from vst_vla.envs.perturb.axis import CannotVary
from vst_vla.envs.perturb.outlines import gap, outline, outline_of, swept_points
from vst_vla.envs.perturb.solids import read_solids
from vst_vla.envs.perturb.things import Region, Thing, read_regions, read_things
from vst_vla.envs.perturb.wording import Clause, Wording
from vst_vla.envs.simulator import Simulator

Goal = tuple[Clause, ...]

_FLAT = frozenset({"butter", "chocolate pudding", "cream cheese"})
_GOODS = _FLAT | {
    "alphabet soup",
    "bbq sauce",
    "ketchup",
    "milk",
    "new salad dressing",
    "orange juice",
    "salad dressing",
    "tomato sauce",
}
_BOWLS = frozenset({"akita black bowl", "white bowl"})
_MUGS = frozenset({"porcelain mug", "red coffee mug", "white yellow mug"})
_POTS = frozenset({"chefmate 8 frypan", "moka pot"})
_BOOKS = frozenset({"black book", "yellow book"})

_ON_THING = {"plate": _BOWLS | _MUGS, "akita black bowl": _FLAT, "white bowl": _FLAT}
"""Kind of a receptacle -> kinds that are put on it."""
_IN_PART = {
    "basket contain_region": _GOODS,
    "wooden tray contain_region": _GOODS | _BOWLS,
    "desk caddy back_contain_region": _BOOKS,
    "desk caddy front_contain_region": _BOOKS,
    "desk caddy left_contain_region": _BOOKS,
    "desk caddy right_contain_region": _BOOKS,
    "microwave heating_region": _MUGS,
}
"""Kind and part of a container -> kinds that are put into it."""
_ON_PART = {
    "flat stove cook_region": _BOWLS | _POTS,
    "wooden cabinet top_side": _BOWLS,
    "white cabinet top_side": _BOWLS,
    "wine rack top_region": frozenset({"wine bottle"}),
}
_IN_DRAWER = _BOWLS | _FLAT
ROOM = 0.02  # m kept clear around a drawer that is to be opened
_NEAR = 0.5  # strength up to which a goal shares a thing with the official one


def vary_goal(simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack) -> dict[str, Any]:
    """An `Axis`: asks for another goal. The description holds the goal's clauses and the sentence.

    Raises:
        CannotVary: when the scene has no other goal that could be asked.
    """
    official: Goal = tuple(tuple(clause) for clause in simulator.goal)
    wording = wording_of(simulator)
    said = {goal: said for goal in _goals(simulator, official, strength) if (said := wording.sentences(goal))}
    if not said:
        raise CannotVary(
            f"no other goal can be asked in '{simulator.task.language}' at strength {strength:g}: leave out goal"
        )
    sort = _one(sorted({_sort(goal) for goal in said}), rng)  # what to do before to what: three drawers count as one
    goal = _one([goal for goal in said if _sort(goal) == sort], rng)
    undo.callback(simulator.set_goal, simulator.goal, language=simulator.language)
    simulator.set_goal(goal, language=_one(said[goal], rng))
    return {"goal": [list(clause) for clause in goal], "task": simulator.language}


def wording_of(simulator: Simulator) -> Wording:
    """Words for the scene as it is now, in the pattern of its own sentence."""
    return Wording(read_things(simulator), read_regions(simulator), picks=simulator.task.language.startswith("pick up"))


def _one[T](choices: Sequence[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]


def _goals(simulator: Simulator, official: Goal, strength: float) -> list[Goal]:
    """Every other goal that could be asked now: reachable, and not true yet."""
    things, regions = read_things(simulator), read_regions(simulator)
    clauses = [*_placements(simulator, things, regions), *_switches(simulator, things, regions)]
    clauses = [clause for clause in clauses if not simulator.holds(clause)]
    goals: list[Goal] = [(clause,) for clause in clauses]
    if len(official) == 2 and {clause[0] for clause in official} == {"in"}:
        goals = list(combinations([clause for clause in clauses if clause[0] == "in"], 2))
    others = [goal for goal in goals if set(goal) != set(official)]
    return (
        others if strength > _NEAR else [goal for goal in others if _owners(goal, regions) & _owners(official, regions)]
    )


def _placements(simulator: Simulator, things: dict[str, Thing], regions: dict[str, Region]) -> Iterator[Clause]:
    """Objects that are free to be taken, on and into what has room for them."""
    supports = {thing.support for thing in things.values()}
    free = [thing for thing in things.values() if not thing.fixture and thing.name not in supports]
    for target in free:
        for item in free:
            if item.kind in _ON_THING.get(target.kind, ()) and item != target:
                yield ("on", item.name, target.name)
    for region in regions.values():
        kind = f"{things[region.owner].kind} {region.part}" if region.owner in things else ""
        drawer = bool(region.joints) and "cabinet" in kind and simulator.holds(("open", region.name))
        inside = _IN_DRAWER if drawer else _IN_PART.get(kind, frozenset())
        yield from (("in", item.name, region.name) for item in free if item.kind in inside)
        if region.name not in supports:
            yield from (("on", item.name, region.name) for item in free if item.kind in _ON_PART.get(kind, ()))


def _switches(simulator: Simulator, things: dict[str, Thing], regions: dict[str, Region]) -> Iterator[Clause]:
    """Drawers, doors and knobs. A cabinet with an open drawer is asked to be closed only: that drawer is in the way."""
    drawers = [r for r in regions.values() if r.joints and "cabinet" in r.owner]
    opened = {r.name for r in drawers if simulator.holds(("open", r.name))}
    blocked = {r.owner for r in drawers if r.name in opened}
    for drawer in drawers:
        if drawer.name in opened:
            yield ("close", drawer.name)
        elif drawer.owner not in blocked and _faces_robot(simulator, drawer) and _has_room(simulator, drawer):
            yield ("open", drawer.name)
    for thing in things.values():
        if thing.kind == "microwave":
            yield ("close", thing.name) if simulator.holds(("open", thing.name)) else ("open", thing.name)
        elif thing.kind == "flat stove":
            yield ("turnoff", thing.name) if simulator.holds(("turnon", thing.name)) else ("turnon", thing.name)


def _faces_robot(simulator: Simulator, drawer: Region) -> bool:
    """Whether a drawer does not come out away from the robot, whose arm is too short to reach around it."""
    data, number = simulator.sim.data._data, simulator.sim.model.joint_name2id(drawer.joints[0])
    out = data.xaxis[number] * np.sign(simulator.sim.model.jnt_range[number].sum())
    apart = data.xanchor[number] - data.body("robot0_base").xpos
    return bool(out[:2] @ apart[:2] < 0)


def _has_room(simulator: Simulator, drawer: Region) -> bool:
    """Whether nothing that reaches up to the drawer stands where it comes out."""
    data, solids = simulator.sim.data._data, {solid.name: solid for solid in read_solids(simulator)}
    swept = swept_points(simulator, solids[drawer.owner], joint=drawer.joints[0])
    things = read_things(simulator).values()
    standing = [solids[thing.name] for thing in things if not thing.fixture and not thing.support]
    tall = [item for item in standing if item.corners(data)[:, 2].max() > swept[:, 2].min()]
    return all(gap(outline_of(item, data), outline(swept)) > ROOM for item in tall)


def _sort(goal: Goal) -> Clause:
    """What is to be done: the predicate, and where to."""
    predicate, *arguments = goal[0]
    return (predicate, *arguments[1:])


def _owners(goal: Goal, regions: dict[str, Region]) -> set[str]:
    """The objects and fixtures that a goal is about."""
    words = {word for clause in goal for word in clause[1:]}
    return {regions[word].owner if word in regions else word for word in words}
