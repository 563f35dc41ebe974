"""Object-object relation with its reasoning: the questions of `mi_object_relation`, answered after thinking aloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.layout import chart
from vst_vla.envs.qa.mi_object_relation import ObjectRelation
from vst_vla.envs.qa.perspective import perspective
from vst_vla.envs.qa.reasoning import reasoned
from vst_vla.vla.contracts import SceneState


@dataclass(frozen=True, kw_only=True)
class ReasonObjectRelation:
    """Asks where one object lies from another that faces a third, the three seen in two pictures.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "reason_object_relation"
    level: ClassVar[str] = "L3"
    thinks: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when two pictures show fewer than three objects clearly."""
        items = ObjectRelation(short_prompt=self.short_prompt)(scene, count=count, rng=rng)
        thought = [self._think(item, scene, rng) for item in items]
        return [item for item in thought if item is not None]

    def _think(self, item: QAItem, scene: SceneState, rng: np.random.Generator) -> QAItem | None:
        layout = chart(scene, cameras=item.about["cameras"], needed=item.about["objects"], rng=rng)
        if layout is None:
            return None
        triple = [layout.number(name) for name in item.about["objects"]]
        steps = perspective(layout, triple=triple, dial=item.about["dial"], rng=rng)
        return reasoned(item, family=self, layout=layout, steps=steps, rng=rng)
