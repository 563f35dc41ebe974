"""3-D grounding: the box of the one object that a phrase means, in VST's answer format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import BOXES, QAItem
from vst_vla.envs.qa.boxes import box_question, boxes_text
from vst_vla.envs.qa.marks import draw_marks
from vst_vla.envs.qa.refer import Reference, references
from vst_vla.envs.qa.view import View, views_of
from vst_vla.envs.qa.wording import choose
from vst_vla.vla.contracts import SceneState

_QUESTIONS = (
    "Give the 3D box of {phrase}.",
    "Where in space is {phrase}?",
    "Ground this in three dimensions: {phrase}.",
    "Find {phrase} and answer with its 3D box.",
    "One object is meant here: {phrase}. What is its 3D box?",
)


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """Asks for one box by phrase: an extreme of the picture, nearness to another object, or a drawn point.

    Args:
        short_prompt: one line instead of the description of camera and format.
        min_visible: visible fraction below which an object is not meant.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "grounding"
    level: ClassVar[str] = "L1"

    short_prompt: bool = False
    min_visible: float = 0.4
    min_pixels: int = 25

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no object can be told from the others."""
        found = [(view, self._references(view, rng)) for view in views_of(scene)]
        pairs = [(view, reference) for view, all_of in found for reference in all_of]
        order = rng.permutation(len(pairs))[:count]
        return [self._item(*pairs[int(place)], rng) for place in order]

    def _references(self, view: View, rng: np.random.Generator) -> list[Reference]:
        targets = view.unique(min_visible=self.min_visible, min_pixels=self.min_pixels)
        return references(view, targets=targets, rng=rng)

    def _item(self, view: View, reference: Reference, rng: np.random.Generator) -> QAItem:
        wording = choose(_QUESTIONS, rng=rng, short=self.short_prompt)
        question = box_question(view, wording.format(phrase=reference.phrase), short=self.short_prompt)
        marks = reference.marks
        return QAItem(
            family=self.name,
            level=self.level,
            kind=BOXES,
            question=question,
            answer=boxes_text([reference.target]),
            images=(draw_marks(view.image, marks=marks) if marks else view.image,),
            marks=marks,
            about={"camera": view.name, "objects": [reference.target.name], "phrase": reference.phrase},
        )
