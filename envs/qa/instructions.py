"""Instructions about what a picture shows, each with the object that a hand takes first and the place where it goes.

They are the scene's own sentence, where it means one object and is not fulfilled yet, and sentences made of the
objects in view. What something can be put in or on, and what is not picked up, is told by the last word of its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vst_vla.envs.qa.conditions import grip_of, read_condition
from vst_vla.envs.qa.hand import reach_to
from vst_vla.envs.qa.view import Seen, View

_TAKE = ("pick up the {a}", "take the {a}", "grasp the {a}", "lift the {a}")
_PUT = ("put {a} {where} the {b}", "pick up {a} and place it {where} the {b}", "move {a} so that it is {where} the {b}")
_RECEIVERS = {
    "basket": "in",
    "tray": "in",
    "caddy": "in",
    "bowl": "in",
    "ramekin": "in",
    "plate": "on",
    "stove": "on",
    "rack": "on",
    "cabinet": "on top of",
    "shelf": "on top of",
}
_FURNITURE = frozenset({"basket", "tray", "caddy", "stove", "rack", "cabinet", "shelf", "microwave"})
_GRIPS = {"handle": "take hold of the {a}", "knob": "turn the {a}"}
"""First word of a part's name -> what a hand does with it."""
_NEAR = 0.02
"""Metres, beyond half an object's length, from its middle to a place's box up to which it may be there already."""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """A sentence for the robot."""

    text: str
    target: Seen | None  # what the hand takes; None when the sentence does not mean one object alone
    place: Seen | None = None  # where it goes; None without one, or when the sentence does not mean one alone


class Instructions:
    """What can be asked of a robot in a picture.

    Args:
        view: the picture.
        min_visible: visible fraction below which an object is not meant.
        min_pixels: the same in pixels of the picture.
    """

    def __init__(self, view: View, *, min_visible: float, min_pixels: int) -> None:
        self._view = view
        self._scene = view.scene
        named = view.unique(min_visible=min_visible, min_pixels=min_pixels, parts=True)
        groups = view.clear(min_visible=min_visible, min_pixels=min_pixels)
        self._named: Mapping[int, Seen] = {seen.number: seen for seen in named}
        self._takeable = [seen for group in groups.values() for seen in group if self._is_taken(seen)]
        self._receivers = [seen for seen in named if not seen.is_part and _last_word(seen) in _RECEIVERS]

    @cached_property
    def for_targets(self) -> dict[int, list[Instruction]]:
        """Number of what the hand takes -> sentences that mean it alone."""
        found: dict[int, list[Instruction]] = {}
        for instruction in self._all:
            if instruction.target is not None:
                found.setdefault(instruction.target.number, []).append(instruction)
        return found

    @cached_property
    def for_places(self) -> dict[int, list[Instruction]]:
        """Number of a place -> sentences that want something put there."""
        found: dict[int, list[Instruction]] = {}
        for instruction in self._all:
            if instruction.place is not None:
                found.setdefault(instruction.place.number, []).append(instruction)
        return found

    @cached_property
    def _all(self) -> Sequence[Instruction]:
        return [*self._told(), *self._taking(), *self._gripping(), *self._putting()]

    def _is_taken(self, seen: Seen) -> bool:
        return seen.is_simple and _last_word(seen) not in _FURNITURE and seen.number not in self._scene.gripper.held

    def _told(self) -> list[Instruction]:
        """The scene's own sentence, when its goal is one condition that is not true yet."""
        goals = self._scene.goals
        if len(goals) != 1 or goals[0].holds:
            return []
        condition = read_condition(self._scene, predicate=goals[0].predicate)
        if condition is None or condition.subject in self._scene.gripper.held:
            return []
        if self._scene.categories.count(self._scene.categories[condition.subject]) > 1:
            return []  # what the sentence tells it apart by may hold of another one now
        grip = grip_of(self._scene, condition=condition)
        target = None if grip is None else self._named.get(grip)
        place = self._named.get(condition.place)
        return [Instruction(text=self._scene.task, target=target, place=place)]

    def _taking(self) -> list[Instruction]:
        alone = [seen for seen in self._takeable if seen.number in self._named]
        return [Instruction(text=text.format(a=seen.category), target=seen) for seen in alone for text in _TAKE]

    def _gripping(self) -> list[Instruction]:
        """Handles and knobs."""
        parts = [seen for seen in self._named.values() if seen.is_part and _first_word(seen) in _GRIPS]
        return [
            Instruction(text=_GRIPS[_first_word(part)].format(a=part.category), target=part)
            for part in parts
            if part.number not in self._scene.gripper.held
        ]

    def _putting(self) -> list[Instruction]:
        found = []
        for place in self._receivers:
            for item in self._takeable:
                if not self._fits(item, place):
                    continue
                alone = item.number in self._named
                name = f"the {item.category}" if alone else f"one of the {item.category}s"
                words = {"a": name, "where": _RECEIVERS[_last_word(place)], "b": place.category}
                target = item if alone else None
                found += [Instruction(text=text.format(**words), target=target, place=place) for text in _PUT]
        return found

    def _fits(self, item: Seen, place: Seen) -> bool:
        """Whether a thing is surely not there yet and not wider than the place."""
        longest = float(max(item.half_extents))
        if item.number == place.number or longest > max(place.half_extents):
            return False
        middle = self._scene.poses[item.number, :3, 3]
        return bool(reach_to(self._scene, number=place.number, places=middle) > longest + _NEAR)


def _last_word(seen: Seen) -> str:
    return seen.category.split()[-1]


def _first_word(seen: Seen) -> str:
    return seen.category.split()[0]
