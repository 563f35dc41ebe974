"""Camera motion with its reasoning: the questions of `mi_camera_motion`, answered after thinking aloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.geometry import apply
from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.directions import CLOCK, bearing, named
from vst_vla.envs.qa.layout import Layout, chart, point_text, rounded
from vst_vla.envs.qa.mi_camera_motion import MOVES, CameraMotion
from vst_vla.envs.qa.pairs import position
from vst_vla.envs.qa.perspective import clockwise_text
from vst_vla.envs.qa.reasoning import Steps, reasoned
from vst_vla.envs.qa.sights import steepness, turn, turn_text
from vst_vla.envs.qa.wording import joined
from vst_vla.vla.contracts import SceneState

_AHEAD = np.array([0.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class ReasonCameraMotion:
    """Asks how the camera moved between two pictures.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "reason_camera_motion"
    level: ClassVar[str] = "L3"
    thinks: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none without two cameras of one lens that share objects."""
        items = CameraMotion(short_prompt=self.short_prompt)(scene, count=count, rng=rng)
        thought = [self._think(item, scene, rng) for item in items]
        return [item for item in thought if item is not None]

    def _think(self, item: QAItem, scene: SceneState, rng: np.random.Generator) -> QAItem | None:
        layout = chart(scene, cameras=item.about["cameras"], needed=(), rng=rng)
        if layout is None:
            return None
        steps = _STEPS[item.about["form"]](layout)
        return reasoned(item, family=self, layout=layout, steps=steps, rng=rng)


def _move(layout: Layout) -> Steps:
    """Along the first camera's own axes, which are tilted against the map."""
    first, second = layout.views
    step = rounded(apply(first.world_to_camera, points=position(second)))
    words = [MOVES[2 * axis + int(value < 0)] for axis, value in enumerate(step)]
    parts = joined([f"{abs(value):.2f} m {word}" for value, word in zip(step, words, strict=True)])
    answer = words[int(np.argmax(np.abs(step)))]
    return Steps(
        sentences=(
            "The frame of reference is the camera of picture 1, whose own axes are tilted against the map.",
            f"Along these axes the camera went {parts}.",
            f"Most of the way leads {answer}.",
        ),
        answer=answer,
    )


def _clock(layout: Layout) -> Steps:
    angle = bearing(_AHEAD, to=layout.eye(1))
    answer = named(angle, dial=CLOCK)
    return Steps(
        sentences=(
            f"12 o'clock is where picture 1 looks, {point_text(_AHEAD)} on the map.",
            f"The camera went along {point_text(layout.eye(1))}, {clockwise_text(angle)} from there.",
            f"At 30 degrees an hour, the nearest hour is {answer}.",
        ),
        answer=answer,
    )


def _turn(layout: Layout) -> Steps:
    degrees = turn(layout)
    if degrees is None:
        return Steps(sentences=(), answer=None)
    answer = "right" if degrees < 180 else "left"
    return Steps(
        sentences=(
            "What counts is the direction of view on the map, not where the camera stands.",
            f"It turned {turn_text(degrees)} as seen from above, so the camera turned {answer}.",
        ),
        answer=answer,
    )


def _tilt(layout: Layout) -> Steps:
    first, second = (steepness(view) for view in layout.views)
    answer = "more steeply" if second > first else "less steeply"
    return Steps(
        sentences=(
            "What counts is the angle below the horizon, not the height of the camera.",
            f"It changes from {first} to {second} degrees, so picture 2 looks down {answer}.",
        ),
        answer=answer,
    )


_STEPS: dict[str, Callable[[Layout], Steps]] = {"move": _move, "clock": _clock, "turn": _turn, "tilt": _tilt}
