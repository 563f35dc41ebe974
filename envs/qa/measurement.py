"""Measurement: a length of one object, or how much taller one is than another. Objects are pointed at, not named.

Sizes belong to the names in a simulator (every milk carton is as tall as the next), so a question with a name could be
answered without looking. Lengths are sides of the object's 3-D box: its height is asked only when the box stands
upright, within `MAX_LEAN_DEG` of the vertical; its longest and shortest sides always make sense.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.marks import draw_marks
from vst_vla.envs.qa.points import colour_points
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.envs.qa.wording import UNITS, choose, length_text, unit_sentence
from vst_vla.vla.contracts import SceneState

MAX_LEAN_DEG = 2.0

_QUESTIONS = {
    "height": (
        "How tall is the object with the {0} point?",
        "What is the height of the object marked in {0}?",
        "Estimate how high the object under the {0} point is, from its lowest to its highest point.",
    ),
    "longest": (
        "How long is the longest side of the object with the {0} point?",
        "Imagine a tight box around the object marked in {0}. What is its longest side?",
        "Estimate the largest dimension of the object under the {0} point.",
    ),
    "shortest": (
        "How long is the shortest side of the object with the {0} point?",
        "Imagine a tight box around the object marked in {0}. What is its shortest side?",
        "Estimate the smallest dimension of the object under the {0} point.",
    ),
    "taller": (
        "How much taller is the object with the {0} point than the one with the {1} point?",
        "What is the difference in height between the object marked in {0} and the shorter one marked in {1}?",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Asks for a length in one camera's picture, as a number with its unit.

    Args:
        short_prompt: the plainest wording.
        min_gap: m by which the taller of two objects leads.
        min_visible: visible fraction below which an object is not measured.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "measurement"
    level: ClassVar[str] = "L1"

    short_prompt: bool = False
    min_gap: float = 0.03
    min_visible: float = 0.7
    min_pixels: int = 40

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no object can be seen well."""
        found = [(view, self._objects(view)) for view in views_of(scene)]
        found = [(view, objects) for view, objects in found if objects]
        items = [self._item(*found[int(rng.integers(len(found)))], rng) for _ in range(count if found else 0)]
        return [item for item in items if item is not None]

    def _objects(self, view: View) -> list[Seen]:
        groups = view.clear(min_visible=self.min_visible, min_pixels=self.min_pixels)
        return [seen for group in groups.values() for seen in group if seen.is_simple]

    def _item(self, view: View, objects: Sequence[Seen], rng: np.random.Generator) -> QAItem | None:
        what = sorted(_QUESTIONS)[int(rng.integers(len(_QUESTIONS)))]
        chosen = [objects[int(i)] for i in rng.permutation(len(objects))[: 2 if what == "taller" else 1]]
        if what == "taller":
            chosen.sort(key=lambda seen: -(standing_height(seen) or 0.0))
        metres = self._length(chosen, what)
        marks = colour_points(chosen, rng=rng)
        if metres is None or not marks:
            return None
        unit = sorted(UNITS)[int(rng.integers(len(UNITS)))]
        wording = choose(_QUESTIONS[what], rng=rng, short=self.short_prompt)
        question = f"{view.lens_text} {wording.format(*(mark.name for mark in marks))} {unit_sentence(unit)}"
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question,
            answer=length_text(metres, unit=unit),
            images=(draw_marks(view.image, marks=marks),),
            marks=marks,
            about={"camera": view.name, "objects": [seen.name for seen in chosen], "what": what, "unit": unit},
        )

    def _length(self, chosen: Sequence[Seen], what: str) -> float | None:
        """The length in m; None when the objects have none of that kind."""
        if what in ("longest", "shortest"):
            sides = 2 * chosen[0].half_extents
            return float(sides.max() if what == "longest" else sides.min())
        heights = [height for seen in chosen if (height := standing_height(seen)) is not None]
        if len(heights) < len(chosen) or (what == "taller" and len(heights) < 2):
            return None
        metres = heights[0] - (heights[1] if what == "taller" else 0.0)
        return None if what == "taller" and metres < self.min_gap else metres


def standing_height(seen: Seen) -> float | None:
    """The side of an upright box along the world's vertical in m; None when it leans."""
    rotation = seen.view.scene.poses[seen.number][:3, :3]
    axis = int(np.argmax(np.abs(rotation[2])))
    if abs(rotation[2, axis]) < math.cos(math.radians(MAX_LEAN_DEG)):
        return None
    return float(2 * seen.half_extents[axis])
