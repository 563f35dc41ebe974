"""3-D object detection in two pictures: boxes in the frame of the first camera, of objects that either may show.

Both cameras have one lens, since field-of-view unification brings a record's pictures to one focal length. A category
is asked about when every object of it that either picture shows is clear in at least one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import BOXES, QAItem
from vst_vla.envs.qa.boxes import box_question, boxes_text
from vst_vla.envs.qa.pairs import Pair, pairs_of
from vst_vla.envs.qa.view import Seen
from vst_vla.envs.qa.wording import choose, spoken_list
from vst_vla.vla.contracts import Array, SceneState

SHORT_CATEGORIES = 3
"""Most categories that a short question names."""
MIN_DEPTH = 0.1
"""Metres in front of the first camera that a box's centre lies at least."""

_FRAME = "Both pictures were taken with the same lens; answer in the coordinates of the camera of picture 1."
_SHORT = "Detect the 3D boxes of {objects} in the frame of picture 1."
_QUESTIONS = (
    "Detect {objects}, which picture 1 or picture 2 shows.",
    "Find the 3D boxes of {objects}, using both pictures.",
    "Locate {objects} in three dimensions from these two views.",
    "Two views show one scene. Give a 3D box for each of these: {objects}.",
)


@dataclass(frozen=True, kw_only=True)
class MultiImageDetection:
    """Asks for boxes by category, a third of the time for one, for several and for all.

    Args:
        short_prompt: one line instead of the description of camera and format, at most three categories, no parts.
        min_visible: visible fraction below which an object is not clear.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "mi_detection"
    level: ClassVar[str] = "L1"

    short_prompt: bool = False
    min_visible: float = 0.4
    min_pixels: int = 25

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none without two cameras of one lens that share objects."""
        pairs = [pair for pair in pairs_of(scene) if pair.has_one_lens]
        asked = [(pair, found) for pair in pairs if (found := self._askable(pair))]
        return [self._item(*asked[int(rng.integers(len(asked)))], rng) for _ in range(count if asked else 0)]

    def _askable(self, pair: Pair) -> dict[str, list[Seen]]:
        """Category -> its objects, as the first view has them."""
        views = (pair.first, pair.second)
        shown = np.any([view.pixels > 0 for view in views], axis=0)
        clear = np.any([self._clear(pair, second=view is pair.second) for view in views], axis=0)
        clear &= pair.first.centres[:, 2] >= MIN_DEPTH
        groups: dict[str, list[Seen]] = {}
        for seen in pair.first.seen:
            if shown[seen.number] and not (seen.is_part and self.short_prompt):
                groups.setdefault(seen.category, []).append(seen)
        return {name: group for name, group in groups.items() if all(clear[seen.number] for seen in group)}

    def _clear(self, pair: Pair, *, second: bool) -> Array:
        view = pair.second if second else pair.first
        visible = view.scene.visible[view.camera] >= self.min_visible
        return np.asarray(visible & (view.pixels >= self.min_pixels) & view.centred)

    def _item(self, pair: Pair, askable: dict[str, list[Seen]], rng: np.random.Generator) -> QAItem:
        names = [str(name) for name in rng.permutation(sorted(askable))]
        names = names[: SHORT_CATEGORIES if self.short_prompt else None]
        several = int(rng.integers(1, len(names) + 1))
        names = names[: (1, several, len(names))[int(rng.integers(3))]]
        asked = [seen for name in names for seen in askable[name]]
        wording = _SHORT if self.short_prompt else f"{_FRAME} {choose(_QUESTIONS, rng=rng)}"
        question = wording.format(objects=spoken_list(names))
        return QAItem(
            family=self.name,
            level=self.level,
            kind=BOXES,
            question=box_question(pair.first, question, short=self.short_prompt),
            answer=boxes_text(asked),
            images=(pair.first.image, pair.second.image),
            about={"cameras": pair.names, "objects": [seen.name for seen in asked]},
        )
