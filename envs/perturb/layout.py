"""The layout axis: movable objects placed anew on the work surface, each in reach, in view, apart from the others.

Everything that stands on the surface is moved, receptacles of the goal included, with a turn about its vertical; what
stands on another movable object moves with it. Fixtures stay, and so does what lies in or on one (a bowl in a drawer),
and an object that a patch of the surface in the goal is named after ("to the right of the plate"). A strength below 1
shrinks every move, and every turn, by that factor. A layout counts when everything came to rest upright where it was
put; else another one is drawn. The goal stays the same; its sentence is said anew where it told things apart by place.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from vst_vla.envs.perturb.axis import CannotVary
from vst_vla.envs.perturb.goal import wording_of
from vst_vla.envs.perturb.outlines import (
    area_of,
    gap,
    outline_of,
    patch_outline,
    swept_outline,
)
from vst_vla.envs.perturb.scratch import Scratch
from vst_vla.envs.perturb.solids import Solid, read_solids
from vst_vla.envs.perturb.things import read_things
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

LAYOUTS = 20  # drawn before giving up
PLACES = 100  # drawn for one object before it stays where it is
GAP = 0.05  # m kept between outlines
FIXTURE_GAP = 0.06  # m kept to fixtures
SWEPT_GAP = 0.03  # m kept to all that a fixture of the goal covers as its drawers and doors move
SETTLE_S = 0.6
FALL_S = 1.0  # some of LIBERO's initial states drop things from a metre up
DROP = 0.002  # m above its height at which an object is let go
MAX_SHIFT = 0.015  # m that an object may move while it comes to rest
MAX_TILT = 0.05  # rad
MAX_DEPTH = 0.003  # m of penetration


def vary_layout(simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack) -> dict[str, Any]:
    """An `Axis`. The description holds, by object, where it was and is (x, y in m, world) and its turn in rad.

    Raises:
        CannotVary: when no layout of `LAYOUTS` came to rest.
    """
    before = simulator.get_state()
    table = _Table(simulator)
    for tries in range(1, LAYOUTS + 1):
        moved = table.shuffle(strength, rng)
        if moved and table.rests():
            simulator.set_state(table.scratch.state())
            if not simulator.success() and _say_anew(simulator, rng, undo):
                return {"moved": moved, "tries": tries, "task": simulator.language}
            simulator.set_state(before)
    raise CannotVary(
        f"no other layout was found for '{simulator.task.language}': lower the strength or leave out layout"
    )


def _say_anew(simulator: Simulator, rng: np.random.Generator, undo: ExitStack) -> bool:
    """Keeps the sentence while it is true and clear, else says another; whether there is one."""
    wording = wording_of(simulator)
    clauses = [tuple(clause) for clause in simulator.goal]
    if not wording.is_ambiguous(clauses):
        return True
    sentences = wording.sentences(clauses)
    if sentences and simulator.language not in sentences:
        undo.callback(simulator.set_goal, simulator.goal, language=simulator.language)
        simulator.set_goal(clauses, language=sentences[int(rng.integers(len(sentences)))])
    return bool(sentences)


class _Table:
    """The objects of one scene, in a copy of its physics."""

    def __init__(self, simulator: Simulator) -> None:
        solids = {solid.name: solid for solid in read_solids(simulator)}
        self._movable = [solid for solid in solids.values() if not solid.fixture]
        self.scratch = Scratch(simulator, movable=self._movable)
        self.scratch.settle(FALL_S)
        self._home = self.scratch.positions()
        self._area = area_of(simulator)
        simulator.set_state(self.scratch.state())
        things = read_things(simulator)
        stays = _anchors(simulator)
        self._stacks = [
            [o, *(solids[name] for name, thing in things.items() if _stands_on(thing.support, o.name, things))]
            for o in self._movable
            if not things[o.name].support and o.kind.replace(" ", "_") not in stays
        ]
        self._obstacles = _obstacles(simulator, [solid for solid in solids.values() if solid.fixture], self.scratch)
        self._expected: dict[str, tuple[Array, Array]] = {}

    def shuffle(self, strength: float, rng: np.random.Generator) -> dict[str, Any]:
        """Puts the objects elsewhere, one after another, from where they are at first."""
        self.scratch.go_back(self._home)
        moved = {}
        for index in rng.permutation(len(self._stacks)):
            stack = self._stacks[int(index)]
            start, _ = self.scratch.pose(stack[0])
            turn = self._place(stack, strength, rng)
            if turn is not None:
                place, _ = self.scratch.pose(stack[0])
                moved[stack[0].name] = {
                    "from": start[:2].round(4).tolist(),
                    "to": place[:2].round(4).tolist(),
                    "turn": turn,
                }
        self._expected = {o.name: self.scratch.pose(o) for o in self._movable}
        return moved

    def rests(self) -> bool:
        """Lets everything come to rest, and says whether it stands upright where it was put."""
        if not self.scratch.settle(SETTLE_S):
            return False
        if max(self.scratch.depth_of_contact([item]) for item in self._movable) > MAX_DEPTH:
            return False
        for item in self._movable:
            (place, up), (expected_place, expected_up) = self.scratch.pose(item), self._expected[item.name]
            tilt = float(np.arccos(np.clip(up @ expected_up, -1.0, 1.0)))
            if np.linalg.norm(place - expected_place) > MAX_SHIFT or tilt > MAX_TILT:
                return False
        return True

    def _place(self, stack: list[Solid], strength: float, rng: np.random.Generator) -> float | None:
        """Moves a stack to a free place and returns its turn in rad; None, with the stack where it was, without one."""
        before = self.scratch.positions()
        origin, _ = self.scratch.pose(stack[0])
        others = [outline_of(o, self.scratch.data) for o in self._movable if o not in stack]
        for _ in range(PLACES):
            place = origin[:2] + strength * (self._area.draw(rng) - origin[:2])
            turn = round(strength * float(rng.uniform(-np.pi, np.pi)), 4)
            self.scratch.carry(stack, to=np.append(place, origin[2] + DROP), yaw=turn)
            if self._is_free(stack, others):
                return turn
            self.scratch.go_back(before)
        return None

    def _is_free(self, stack: list[Solid], others: list[Array]) -> bool:
        data = self.scratch.data
        points = np.concatenate([o.corners(data) for o in stack])
        if not self._area.holds(data.xpos[stack[0].root][:2], points=points):
            return False
        outlines = [outline_of(o, data) for o in stack]
        apart = all(gap(mine, other) > GAP for mine in outlines for other in others)
        clear = apart and all(gap(mine, other) > room for mine in outlines for other, room in self._obstacles)
        return clear and self.scratch.depth_of_contact(stack) == 0


def _stands_on(support: str, base: str, things: Any) -> bool:
    """Whether a chain of supports leads to `base`."""
    while support in things and support != base:
        support = things[support].support
    return support == base


def _patches(simulator: Simulator) -> list[str]:
    """The patches of the work surface that the goal names."""
    sites = simulator.problem.object_sites_dict
    words = {word for clause in simulator.goal for word in clause[1:]}
    return sorted(word for word in words if word in sites and sites[word].parent_name is None)


def _anchors(simulator: Simulator) -> set[str]:
    """Kinds after which a patch of the goal is named: the plate of "living_room_table_plate_right_region"."""
    kinds = simulator.problem.parsed_problem["objects"]
    return {kind for kind in kinds for patch in _patches(simulator) if f"_{kind}_" in patch}


def _obstacles(simulator: Simulator, fixtures: list[Solid], scratch: Scratch) -> list[tuple[Array, float]]:
    """What to keep clear, each with the room around it in m: fixtures, what those of the goal sweep, its patches."""
    words = [word for clause in simulator.goal for word in clause[1:]]
    used = [f for f in fixtures if any(word == f.name or word.startswith(f"{f.name}_") for word in words)]
    outlines = [(outline_of(item, scratch.data), FIXTURE_GAP) for item in fixtures]
    outlines += [(swept_outline(simulator, item), SWEPT_GAP) for item in used]
    return outlines + [(patch_outline(simulator, patch), SWEPT_GAP) for patch in _patches(simulator)]
