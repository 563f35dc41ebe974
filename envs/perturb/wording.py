"""True sentences about a goal, in the patterns of LIBERO's own instructions.

Where the scene holds several of a kind, the object is told apart by what holds in the scene at that moment: what it
stands on, what it is next to, what it is between, or its side. Sides are LIBERO's: left is the world's -y, right +y,
front +x (away from the robot), back -x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from vst_vla.envs.perturb.things import Region, Thing

Clause = tuple[str, ...]
"""A predicate and its arguments, such as ("on", "akita_black_bowl_1", "plate_1")."""

NEXT_TO = 0.08  # m between outlines, at most, of things that are next to each other
NOT_NEXT_TO = 0.14  # m, at least, for the others of its kind
BETWEEN = 0.04  # m beside the line from one thing to another, at most, of what is between them
NOT_BETWEEN = 0.1
APART = 0.05  # m by which one thing is clearly further left, right, front or back
_SWITCHES = {"open": "open", "close": "close", "turnon": "turn on", "turnoff": "turn off"}


class Wording:
    """Says goals about one scene.

    Args:
        things: what the scene holds, by name.
        regions: parts of them, by name.
        picks: say "pick up X and place it" rather than "put X".
    """

    def __init__(self, things: Mapping[str, Thing], regions: Mapping[str, Region], *, picks: bool) -> None:
        self._things = things
        self._regions = regions
        self._picks = picks

    def sentences(self, clauses: Sequence[Clause]) -> list[str]:
        """Every sentence that says the goal truly and of one thing only; none when there is no such sentence."""
        if self._is_shared_place(clauses):
            first, second = (self.items(clause[1]) for clause in clauses)
            places = self._places(clauses[0])
            return [f"put both the {a} and the {b} {place}" for a in first for b in second for place in places]
        spoken = [""]
        for clause in clauses:
            picks = self._picks and len(clauses) == 1
            ways = self._say(clause, picks=picks)
            spoken = [f"{before} and {way}" if before else way for before in spoken for way in ways]
        return spoken

    def is_ambiguous(self, clauses: Sequence[Clause]) -> bool:
        """Whether the goal would be another one if a thing in it were exchanged for another of its kind."""
        goal = {tuple(clause) for clause in clauses}
        named = [a for clause in goal for a in self._owners(clause)]
        pairs = [(thing, rival.name) for thing in named for rival in self._rivals(thing)]
        return any({_exchange(clause, *pair) for clause in goal} != goal for pair in pairs)

    def items(self, name: str) -> list[str]:
        """Ways to name an object that is to be picked up: "black bowl next to the plate"."""
        spoken, rivals = self._things[name].spoken, self._rivals(name)
        if not rivals:
            return [spoken]
        places = [f"{spoken} {where}" for where in self._places_of(name, rivals)]
        return places + [self._beside(spoken, side) for side in self._sides(name, rivals)]

    def receptacles(self, name: str) -> list[str]:
        """Ways to name what something is put on or into: "left plate"."""
        spoken, rivals = self._things[name].spoken, self._rivals(name)
        return [f"{side} {spoken}" for side in self._sides(name, rivals)] if rivals else [spoken]

    def _beside(self, spoken: str, side: str) -> str:
        if side in ("front", "back"):
            return f"{spoken} at the {side}"
        return f"{spoken} on the {side}" if self._picks else f"{side} {spoken}"

    def _is_shared_place(self, clauses: Sequence[Clause]) -> bool:
        pairs = len(clauses) == 2 and {clause[0] for clause in clauses} == {"in"}
        return pairs and len({clause[2] for clause in clauses}) == 1

    def _owners(self, clause: Clause) -> list[str]:
        """The things that a clause names, itself or by a part of them."""
        names = [self._regions[a].owner if a in self._regions else a for a in clause[1:]]
        return [name for name in names if name in self._things]

    def _rivals(self, name: str) -> list[Thing]:
        mine = self._things[name]
        return [t for t in self._things.values() if t.spoken == mine.spoken and t.name != name]

    def _say(self, clause: Clause, *, picks: bool) -> list[str]:
        predicate, name = clause[:2]
        if predicate in _SWITCHES:
            region = self._regions.get(name)
            if region is None:
                return [f"{_SWITCHES[predicate]} the {owner}" for owner in self.receptacles(name)]
            part = region.part.removesuffix("_region")
            return [f"{_SWITCHES[predicate]} the {part} drawer of the {o}" for o in self.receptacles(region.owner)]
        pattern = "pick up the {} and place it {}" if picks else "put the {} {}"
        places = self._places(clause)
        return [pattern.format(item, place) for item in self.items(name) for place in places]

    def _places(self, clause: Clause) -> list[str]:
        """Ways to say where a clause wants its object: "on the left plate"."""
        predicate, _, target = clause
        region = self._regions.get(target)
        owners = self.receptacles(region.owner if region else target)
        if region is None:
            inside = predicate == "in" or "bowl" in self._things[target].kind
            return [f"{'in' if inside else 'on'} the {owner}" for owner in owners]
        return [_place_in(region, predicate, owner) for owner in owners]

    def _places_of(self, name: str, rivals: Sequence[Thing]) -> list[str]:
        """Where the thing is and none of its rivals: "on the ramekin", "next to the plate"."""
        mine = self._things[name]
        found = []
        if mine.support and all(rival.support != mine.support for rival in rivals):
            found.append(self._on(mine.support))
        if not mine.support:
            marks = [t for t in self._things.values() if not t.fixture and not t.support and not self._rivals(t.name)]
            found += [f"next to the {mark.spoken}" for mark in marks if _is_next_to(mine, mark, rivals)]
            found += [
                f"between the {first.spoken} and the {second.spoken}"
                for first, second in combinations(marks, 2)
                if _is_between(mine, first, second, rivals)
            ]
        return found

    def _on(self, support: str) -> str:
        region = self._regions.get(support)
        if region is None:
            return f"on the {self._things[support].spoken}"
        kind = self._things[region.owner].kind
        if region.joints:
            return f"in the {region.part.removesuffix('_region')} drawer of the {kind}"
        return f"on the {kind if 'cabinet' in kind else self._things[region.owner].spoken}"

    def _sides(self, name: str, rivals: Sequence[Thing]) -> list[str]:
        mine = self._things[name]
        right = [mine.y - rival.y for rival in rivals]
        front = [mine.x - rival.x for rival in rivals]
        ways = {"left": [-d for d in right], "right": right, "front": front, "back": [-d for d in front]}
        return [side for side, margins in ways.items() if min(margins) > APART]


def _place_in(region: Region, predicate: str, owner: str) -> str:
    part = region.part.removesuffix("_region")
    if region.joints and predicate == "in" and part != "heating":
        return f"in the {part} drawer of the {owner}"
    if part.endswith("_contain"):
        return f"in the {part.removesuffix('_contain')} compartment of the {owner}"
    if part == "top_side":
        return f"on top of the {owner}"
    return f"{predicate} the {owner}"


def _is_next_to(mine: Thing, mark: Thing, rivals: Sequence[Thing]) -> bool:
    clear = all(_distance(rival, mark) > NOT_NEXT_TO for rival in rivals)
    return clear and mine.name != mark.name and _distance(mine, mark) < NEXT_TO


def _distance(first: Thing, second: Thing) -> float:
    return float(np.hypot(first.x - second.x, first.y - second.y)) - first.radius - second.radius


def _is_between(mine: Thing, first: Thing, second: Thing, rivals: Sequence[Thing]) -> bool:
    if mine.name in (first.name, second.name) or _beside_line(mine, first, second) > BETWEEN:
        return False
    return all(_beside_line(rival, first, second) > NOT_BETWEEN for rival in rivals)


def _beside_line(item: Thing, first: Thing, second: Thing) -> float:
    """Distance in m from the middle part of the line between two things."""
    start, end = np.array([first.x, first.y]), np.array([second.x, second.y])
    place = np.array([item.x, item.y])
    share = float(np.clip((place - start) @ (end - start) / max(float((end - start) @ (end - start)), 1e-9), 0.3, 0.7))
    return float(np.linalg.norm(place - start - share * (end - start)))


def _exchange(clause: Clause, first: str, second: str) -> Clause:
    """The clause with two instances, and the parts of them, exchanged."""
    swap = {first: second, second: first}
    return tuple(_exchanged(word, swap) for word in clause)


def _exchanged(word: str, swap: Mapping[str, str]) -> str:
    for old, new in swap.items():
        if word == old or word.startswith(f"{old}_"):
            return new + word.removeprefix(old)
    return word
