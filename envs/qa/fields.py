"""What every field of a picture shows, and how far away it is: dense targets for networks that start from nothing.

A network from random weights learns little from one sparse answer a picture; told what lies in every field of a grid,
it first learns to see. Stronger still are labels of the pictures themselves (`qa.cells`): a field's word is easy to
guess from those before it. Not one of VST's families, and no benchmark asks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.cells import owners
from vst_vla.envs.qa.view import View, views_of
from vst_vla.vla.contracts import Array, SceneState

NOTHING = "-"


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Asks for the whole grid at once: a line a row, a name and a depth in metres a field, "-" where no object lies.

    Args:
        short_prompt: one line without the answer's format.
        rows: of the grid, and columns; 4 is one field a visual token at 112 px.
        least: share of a field that its largest object must cover to be named.
    """

    name: ClassVar[str] = "fields"
    level: ClassVar[str] = "L0"

    short_prompt: bool = False
    rows: int = 4
    least: float = 0.15

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, one a picture; none when no object can be seen."""
        views = [view for view in views_of(scene) if (owners(view) >= 0).any()]
        return [self._item(views[int(place)]) for place in rng.permutation(len(views))[:count]]

    def _item(self, view: View) -> QAItem:
        question = f"Name what lies in each of the {self.rows} x {self.rows} fields of the picture and how far it is."
        form = ' A line a row, from the top; "name depth" for each field, depth in meters; - where no object lies.'
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question if self.short_prompt else question + form,
            answer=fields_text(view, rows=self.rows, least=self.least),
            images=(view.image,),
            about={"camera": view.name, "rows": self.rows, "least": self.least},
        )


def fields_text(view: View, *, rows: int, least: float) -> str:
    """The grid in words: fields of a row apart by commas, rows by line ends."""
    seen = owners(view)
    edges = [np.linspace(0, side, rows + 1).round().astype(int) for side in (view.height, view.width)]
    lines = []
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        fields = []
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            depth = float(np.median(view.depth[top:bottom, left:right]))
            fields.append(f"{_largest(view, seen[top:bottom, left:right], least)} {depth:.1f}")
        lines.append(", ".join(fields))
    return "\n".join(lines)


def _largest(view: View, seen: Array, least: float) -> str:
    numbers, counts = np.unique(seen[seen >= 0], return_counts=True)
    if not len(numbers) or counts.max() < least * seen.size:
        return NOTHING
    return view.scene.categories[int(numbers[counts.argmax()])]
