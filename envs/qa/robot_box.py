"""Boxes in the picture: what an instruction wants taken, or where it wants something put.

A box bounds the visible pixels of an object, not what is hidden of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.instructions import Instruction, Instructions
from vst_vla.envs.qa.pixels import flat_box_text, size_text
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.envs.qa.wording import choose
from vst_vla.vla.contracts import SceneState

_QUESTIONS = {
    "target": (
        'Give the 2D box of what the robot must take hold of: "{text}".',
        'The robot is told: "{text}". Mark what its gripper must take hold of first with a 2D box.',
        'For the instruction "{text}", find what has to be gripped and give its 2D box.',
    ),
    "place": (
        'Give the 2D box of where the robot must put something: "{text}".',
        'The robot is told: "{text}". Mark the place where it must put something down with a 2D box.',
        'For the instruction "{text}", find where the object has to end up and give that place\'s 2D box.',
    ),
}
_FORMAT = (
    'Answer with a JSON list that holds one "bbox_2d" [x1, y1, x2, y2] in pixels around what is visible, '
    'and its "label".'
)


@dataclass(frozen=True, kw_only=True)
class RobotBox:
    """Asks for the box in pixels of an instruction's object, or of its place.

    Args:
        short_prompt: one line without the answer's format.
        min_visible: visible fraction below which an object is not asked for.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "robot_box"
    level: ClassVar[str] = "L1"

    short_prompt: bool = False
    min_visible: float = 0.5
    min_pixels: int = 25

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, each object of each picture once a role; none when no instruction means one alone."""
        found = [(view, *case) for view in views_of(scene) for case in self._cases(view)]
        order = rng.permutation(len(found))[:count]
        return [self._item(*found[int(place)], rng) for place in order]

    def _cases(self, view: View) -> list[tuple[str, Sequence[Instruction]]]:
        """Role and the instructions of one object in it."""
        instructions = Instructions(view, min_visible=self.min_visible, min_pixels=self.min_pixels)
        taken = [("target", meant) for meant in instructions.for_targets.values()]
        return [*taken, *(("place", meant) for meant in instructions.for_places.values())]

    def _item(self, view: View, role: str, meant: Sequence[Instruction], rng: np.random.Generator) -> QAItem:
        instruction = meant[int(rng.integers(len(meant)))]
        wanted: Seen | None = instruction.target if role == "target" else instruction.place
        assert wanted is not None, "instructions are listed by what they mean"
        question = choose(_QUESTIONS[role], rng=rng, short=self.short_prompt).format(text=instruction.text)
        how = size_text(view) if self.short_prompt else f"{size_text(view)} {_FORMAT}"
        about = {"objects": [wanted.name], "role": role, "instruction": instruction.text, "boxes": [wanted.bbox]}
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=f"{question} {how}",
            answer=flat_box_text(wanted),
            images=(view.image,),
            about={"camera": view.name, **about},
        )
