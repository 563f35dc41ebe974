"""Camera-camera relation with its reasoning: the questions of `mi_camera_relation`, answered after thinking aloud."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.directions import SIDES, bearing, named
from vst_vla.envs.qa.layout import Layout, chart, point_text, rounded
from vst_vla.envs.qa.mi_camera_relation import CameraRelation
from vst_vla.envs.qa.pairs import position
from vst_vla.envs.qa.perspective import clockwise_text
from vst_vla.envs.qa.reasoning import Steps, reasoned
from vst_vla.envs.qa.wording import length_text
from vst_vla.vla.contracts import SceneState

_AHEAD = np.array([0.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class ReasonCameraRelation:
    """Asks how two cameras stand to each other.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "reason_camera_relation"
    level: ClassVar[str] = "L3"
    thinks: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no two cameras show the same objects."""
        items = CameraRelation(short_prompt=self.short_prompt)(scene, count=count, rng=rng)
        thought = [self._think(item, scene, rng) for item in items]
        return [item for item in thought if item is not None]

    def _think(self, item: QAItem, scene: SceneState, rng: np.random.Generator) -> QAItem | None:
        layout = chart(scene, cameras=item.about["cameras"], needed=item.about.get("objects", ()), rng=rng)
        if layout is None:
            return None
        steps = _STEPS[item.about["form"]](layout, item)
        # a lens tells which camera took a picture, so the question names it only where it already did
        return reasoned(item, family=self, layout=layout, steps=steps, rng=rng, name_lens=False)


def _side(layout: Layout, item: QAItem) -> Steps:
    angle = bearing(_AHEAD, to=layout.eye(1))
    answer = named(angle, dial=SIDES)
    return Steps(
        sentences=(
            f"The viewer of picture 1 stands at (0.00, 0.00) and faces {point_text(_AHEAD)}.",
            f"Picture 2 was taken at {point_text(layout.eye(1))}, {clockwise_text(angle)} from straight ahead.",
            f"That side is called {answer}.",
        ),
        answer=answer,
    )


def _apart(layout: Layout, item: QAItem) -> Steps:
    (x, y), z = layout.eye(1), layout.rise(1)
    metres = math.hypot(x, y, z)
    told = f"{abs(x):.2f} m to the side, {abs(y):.2f} m along the view and {abs(z):.2f} m in height"
    return Steps(
        sentences=(
            f"Between the cameras there are {told}.",
            f"The root of the sum of their squares is {metres:.2f} m.",
        ),
        answer=length_text(metres, unit=item.about["unit"]),
    )


def _turn(layout: Layout, item: QAItem) -> Steps:
    first, second = (rounded(layout.heading(place)) for place in (0, 1))
    cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
    degrees = f"{math.degrees(math.acos(min(1.0, max(-1.0, cosine)))):.0f}"
    return Steps(
        sentences=(
            "Take directions as right, ahead and up on this map.",
            f"Picture 1 looks along {point_text(first)} and picture 2 along {point_text(second)}.",
            f"The cosine of the angle between them is {cosine:.2f}, so the angle is {degrees} degrees.",
        ),
        answer=degrees,
    )


def _nearer(layout: Layout, item: QAItem) -> Steps:
    number = layout.number(item.about["objects"][0])
    height = layout.scene.poses[number, 2, 3]
    distances, sentences = [], []
    for place, view in enumerate(layout.views):
        level = math.hypot(*rounded(layout.spot(number) - layout.eye(place)))
        rise = float(rounded(position(view)[2] - height))
        distances.append(math.hypot(round(level, 2), rise))
        sentences.append(
            f"From {layout.camera_name(place)} it is {level:.2f} m on the level and {abs(rise):.2f} m in height to "
            f"{layout.name(number)}, {distances[-1]:.2f} m in all."
        )
    answer = "first" if distances[0] < distances[1] else "second"
    return Steps(sentences=(*sentences, f"The {answer} is the shorter way."), answer=answer)


def _higher(layout: Layout, item: QAItem) -> Steps:
    rise = layout.rise(1)
    word, answer = ("higher", "second") if rise > 0 else ("lower", "first")
    return Steps(
        sentences=(
            "Only the heights count, whatever the directions of view.",
            f"The camera of picture 2 is {abs(rise):.2f} m {word} than that of picture 1, so the {answer} is higher.",
        ),
        answer=answer,
    )


_STEPS: dict[str, Callable[[Layout, QAItem], Steps]] = {
    "side": _side,
    "apart": _apart,
    "turn": _turn,
    "nearer": _nearer,
    "higher": _higher,
}
