"""Traces: through which pixels the gripper goes next, out of an episode whose later moments are known.

The picture shows one moment of an episode, the question gives the task and the times; the answer holds the places of
the point between the fingertips at those times, seen by a camera that stands still. A trace is asked only when all its
points lie in the picture and it is at least `MIN_LENGTH` of the picture's width long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, Clip, QAItem
from vst_vla.envs.qa.films import Film, still_films
from vst_vla.envs.qa.hand import hand_pixel, hand_place
from vst_vla.envs.qa.pixels import Pixel, path_text, pixel_of, size_text
from vst_vla.envs.qa.wording import choose, joined

MIN_LENGTH = 0.1
"""Fraction of the picture's width."""

_FEWEST, _MOST = 2, 4
_QUESTIONS = (
    'The robot\'s task: "{task}". Where is its gripper after {times}?',
    'The robot is told: "{task}". Trace the path of its gripper: give its place in the picture after {times}.',
    'Predict the next waypoints of the gripper for the task "{task}": its pixels after {times}.',
    'While the robot does "{task}", through which pixels does its gripper pass after {times}?',
)
_FORMAT = (
    "A place is the pixel [x, y] of the point between the fingertips. Answer with a JSON list of points, one a time."
)


@dataclass(frozen=True, kw_only=True)
class RobotTrace:
    """Asks for the gripper's next two to four places in pixels.

    Args:
        short_prompt: one line without the answer's format.
    """

    name: ClassVar[str] = "robot_trace"
    level: ClassVar[str] = "L3"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, one a picture; none when the gripper stays, or leaves the pictures."""
        starts = range(len(clip.frames) - _FEWEST)
        found = [
            (film, start, path)
            for film in still_films(clip)
            for start in starts
            if len(path := path_from(film, start=start)) >= _FEWEST
        ]
        order = rng.permutation(len(found))[:count]
        return [self._item(*found[int(place)], rng) for place in order]

    def _item(self, film: Film, start: int, path: Sequence[Pixel], rng: np.random.Generator) -> QAItem:
        view, clock = film.views[start], film.clip.times
        frames = range(start + 1, start + 1 + len(path))
        times = [f"{clock[frame] - clock[start]:.2f}" for frame in frames]
        wording = choose(_QUESTIONS, rng=rng, short=self.short_prompt)
        question = wording.format(task=view.scene.task, times=f"{joined(times)} seconds")
        how = size_text(view) if self.short_prompt else f"{size_text(view)} {_FORMAT}"
        about = {"frame": start, "frames": list(frames), "points": [list(point) for point in path]}
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=f"{question} {how}",
            answer=path_text(path),
            images=(view.image,),
            about={"camera": view.name, **about},
        )


def path_from(film: Film, *, start: int) -> list[Pixel]:
    """The gripper's pixels at the frames after `start`, in that frame's picture; none when too short or out of it."""
    view = film.views[start]
    present = hand_pixel(view)
    later = [view.scene for view in film.views[start + 1 : start + 1 + _MOST]]
    path = [pixel_of(view, place=hand_place(scene)) for scene in later]
    inside = [pixel for pixel in path if pixel is not None]
    if present is None or len(inside) < len(path):
        return []
    steps = np.diff(np.array([present, *inside]), axis=0)
    return inside if np.linalg.norm(steps, axis=1).sum() >= MIN_LENGTH * view.width else []
