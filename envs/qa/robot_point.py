"""Pointing: the pixel of what a robot must take hold of to follow an instruction.

The point lies deep in the object's visible pixels, near their middle (`pixels.inmost_pixel`), so that the same picture
always has the same answer; any other pixel of the object would do as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.instructions import Instruction, Instructions
from vst_vla.envs.qa.pixels import inmost_pixel, point_text, size_text
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.envs.qa.wording import choose
from vst_vla.vla.contracts import SceneState

_QUESTIONS = (
    'Point to what the robot must take hold of: "{text}".',
    'The robot is told: "{text}". Point to what its gripper must take hold of first.',
    'Where must the gripper grip to "{text}"? Give one point.',
    'Give a point on the thing that has to be gripped for the instruction "{text}".',
)
_FORMAT = 'Answer with a JSON list that holds one "point_2d" [x, y] in pixels and its "label".'


@dataclass(frozen=True, kw_only=True)
class RobotPoint:
    """Asks for a point in pixels on the object, handle or knob that an instruction means.

    Args:
        short_prompt: one line without the answer's format.
        min_visible: visible fraction below which nothing is pointed to.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "robot_point"
    level: ClassVar[str] = "L1"

    short_prompt: bool = False
    min_visible: float = 0.4
    min_pixels: int = 20

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, each object of each picture once; none when no instruction means one object alone."""
        found = [(view, meant) for view in views_of(scene) for meant in self._meant(view)]
        order = rng.permutation(len(found))[:count]
        return [self._item(*found[int(place)], rng) for place in order]

    def _meant(self, view: View) -> list[Sequence[Instruction]]:
        instructions = Instructions(view, min_visible=self.min_visible, min_pixels=self.min_pixels)
        return list(instructions.for_targets.values())

    def _item(self, view: View, meant: Sequence[Instruction], rng: np.random.Generator) -> QAItem:
        instruction = meant[int(rng.integers(len(meant)))]
        assert instruction.target is not None, "instructions are listed by their targets"
        target: Seen = instruction.target
        point = inmost_pixel(target.mask)
        question = choose(_QUESTIONS, rng=rng, short=self.short_prompt).format(text=instruction.text)
        how = size_text(view) if self.short_prompt else f"{size_text(view)} {_FORMAT}"
        about = {"objects": [target.name], "instruction": instruction.text, "points": [list(point)]}
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=f"{question} {how}",
            answer=point_text(point, label=target.category),
            images=(view.image,),
            about={"camera": view.name, **about},
        )
