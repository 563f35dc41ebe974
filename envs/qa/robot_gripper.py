"""The gripper's place in the camera's frame: X right, Y down, Z forward, in metres, as 3-D boxes have it.

Asked of cameras that do not move with the hand, where the hand can be seen. Two decimals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.hand import WRIST, hand_in_camera, hand_pixel
from vst_vla.envs.qa.pixels import Pixel
from vst_vla.envs.qa.view import View, views_of
from vst_vla.envs.qa.wording import choose
from vst_vla.vla.contracts import SceneState

_QUESTIONS = (
    "Where is the robot's gripper in camera coordinates?",
    "Give the position of the robot's end effector in the camera's frame.",
    "What are the camera coordinates of the point between the gripper's fingertips?",
)
_FORMAT = (
    "X points right, Y points down, Z points forward; the camera is the origin. The position is that of the point "
    "between the fingertips. Answer as [x, y, z] in meters."
)


@dataclass(frozen=True, kw_only=True)
class RobotGripper:
    """Asks for three numbers: where the gripper is, seen from the camera.

    Args:
        short_prompt: one line without the axes and the answer's format.
    """

    name: ClassVar[str] = "robot_gripper"
    level: ClassVar[str] = "L0"

    short_prompt: bool = False

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, one a picture; none when no picture shows the gripper."""
        views = [view for view in views_of(scene) if view.name != WRIST]
        found = [(view, pixel) for view in views if (pixel := hand_pixel(view)) is not None]
        order = rng.permutation(len(found))[:count]
        return [self._item(*found[int(place)], rng) for place in order]

    def _item(self, view: View, pixel: Pixel, rng: np.random.Generator) -> QAItem:
        question = f"{view.lens_text} {choose(_QUESTIONS, rng=rng, short=self.short_prompt)}"
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question if self.short_prompt else f"{question} {_FORMAT}",
            answer=f"[{', '.join(f'{value:.2f}' for value in np.round(hand_in_camera(view), 2) + 0.0)}]",
            images=(view.image,),
            about={"camera": view.name, "points": [list(pixel)]},
        )
