"""What a goal's predicate is about and what it says, in words: ("on", "plate_1", "flat_stove_1_cook_region") and so on.

Arguments are instance names or regions of instances, which LIBERO names after their owner. Patches of the table have no
owner among the objects, and the left or right side of a thing depends on the picture: both have no words here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vst_vla.vla.contracts import SceneState

_STATES = {"open": "open", "close": "closed", "turnon": "turned on", "turnoff": "turned off"}
_PARTS = {
    "top_side": "on top of the {}",
    "contain_region": "in the {}",
    "front_contain_region": "in the front compartment of the {}",
    "back_contain_region": "in the back compartment of the {}",
    "heating_region": "in the {}",
    "cook_region": "on the {}",
}
"""Part of a thing -> where something is that lies there."""
_RACK = "wine rack"  # has a single region, its top


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What a predicate says of an object."""

    predicate: str  # "in", "on", "open", "close", "turnon" or "turnoff"
    subject: int  # number of the object that is placed, opened or switched
    place: int  # number of the object or part that it is placed in or on; -1 when it is opened or switched
    state: str  # "on the plate", "turned on"


def read_condition(scene: SceneState, *, predicate: Sequence[str]) -> Condition | None:
    """The condition; None when it is about something else than objects, or has no words."""
    kind, *arguments = predicate
    if kind in _STATES:
        subject = _switched(scene, arguments[0])
        return None if subject is None else Condition(predicate=kind, subject=subject, place=-1, state=_STATES[kind])
    if len(arguments) != 2 or arguments[0] not in scene.names:
        return None
    found = _place(scene, kind, arguments[1])
    if found is None:
        return None
    return Condition(predicate=kind, subject=scene.names.index(arguments[0]), place=found[0], state=found[1])


def named_objects(scene: SceneState, *, predicate: Sequence[str]) -> list[int]:
    """Numbers of the whole objects that a predicate names, itself or by a region."""
    owners = [_owner(scene, word) for word in predicate[1:]]
    return [number for number in owners if number is not None]


def grip_of(scene: SceneState, *, condition: Condition) -> int | None:
    """Number of what a hand takes hold of to make a condition true: the object, a handle or a knob; None without."""
    if condition.place >= 0:
        return condition.subject
    part = {"open": "handle", "turnon": "knob", "turnoff": "knob"}.get(condition.predicate)
    name = f"{scene.names[condition.subject]}_{part}"
    return scene.names.index(name) if name in scene.names else None


def _owner(scene: SceneState, word: str) -> int | None:
    """The whole object that an argument names, itself or by a region of it."""
    for number, name in enumerate(scene.names):
        if scene.parents[number] < 0 and (word == name or word.startswith(f"{name}_")):
            return number
    return None


def _drawer(scene: SceneState, owner: int, part: str) -> int | None:
    name = f"{scene.names[owner]}_{part.removesuffix('_region')}_drawer"
    return scene.names.index(name) if name in scene.names else None


def _switched(scene: SceneState, word: str) -> int | None:
    """The object or drawer that is opened or switched."""
    owner = _owner(scene, word)
    if owner is None or word == scene.names[owner]:
        return owner
    return _drawer(scene, owner, word.removeprefix(f"{scene.names[owner]}_"))


def _place(scene: SceneState, kind: str, word: str) -> tuple[int, str] | None:
    """Number and words of where something is put."""
    owner = _owner(scene, word)
    if owner is None:
        return None
    category = scene.categories[owner]
    if word == scene.names[owner]:
        return owner, f"{'in' if kind == 'in' or 'bowl' in category else 'on'} the {category}"
    part = word.removeprefix(f"{scene.names[owner]}_")
    drawer = _drawer(scene, owner, part)
    if drawer is not None and kind == "in":
        return drawer, f"in the {scene.categories[drawer]}"
    if category == _RACK:
        return owner, f"on the {category}"
    return (owner, _PARTS[part].format(category)) if part in _PARTS else None
