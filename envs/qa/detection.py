"""3-D object detection: the boxes of one category, of several, or of everything in view, in VST's answer format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import BOXES, QAItem
from vst_vla.envs.qa.boxes import box_question, boxes_text
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.envs.qa.wording import choose, spoken_list
from vst_vla.vla.contracts import SceneState

SHORT_CATEGORIES = 3
"""Most categories that a short question names."""

_SHORT = "Detect the 3D boxes of {objects}."
_QUESTIONS = (
    "Detect {objects} in the picture.",
    "Say where in space to find {objects}.",
    "Find the 3D boxes of {objects}.",
    "Locate {objects} in three dimensions.",
    "Give a 3D box for each of these: {objects}.",
)


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Asks for boxes by category, a third of the time for one, for several and for all.

    Args:
        short_prompt: one line instead of the description of camera and format, at most three categories, and no parts,
            for backbones that cannot afford long rows.
        min_visible: visible fraction below which an object is not asked about.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "detection"
    level: ClassVar[str] = "L1"

    short_prompt: bool = False
    min_visible: float = 0.3
    min_pixels: int = 16

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no object can be seen well."""
        asked = [(view, categories) for view in views_of(scene) if (categories := self._askable(view))]
        return [self._item(*asked[int(rng.integers(len(asked)))], rng) for _ in range(count if asked else 0)]

    def _askable(self, view: View) -> dict[str, list[Seen]]:
        return view.clear(min_visible=self.min_visible, min_pixels=self.min_pixels, parts=not self.short_prompt)

    def _item(self, view: View, askable: dict[str, list[Seen]], rng: np.random.Generator) -> QAItem:
        names = [str(name) for name in rng.permutation(sorted(askable))]
        names = names[: SHORT_CATEGORIES if self.short_prompt else None]
        several = int(rng.integers(1, len(names) + 1))
        names = names[: (1, several, len(names))[int(rng.integers(3))]]
        asked = [seen for name in names for seen in askable[name]]
        wording = _SHORT if self.short_prompt else choose(_QUESTIONS, rng=rng)
        question = wording.format(objects=spoken_list(names))
        return QAItem(
            family=self.name,
            level=self.level,
            kind=BOXES,
            question=box_question(view, question, short=self.short_prompt),
            answer=boxes_text(asked),
            images=(view.image,),
            about={"camera": view.name, "objects": [seen.name for seen in asked]},
        )
