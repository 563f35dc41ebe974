"""A clip as a video: one camera's pictures of it, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vst_vla.envs.qa.base import VIDEO, Clip, Mark, QAItem
from vst_vla.envs.qa.view import Seen, View, view_of
from vst_vla.vla.contracts import Array

PREFIX = "These are frames of a video."
MIN_VISIBLE = 0.4
"""Visible fraction from which on an object of a video counts as seen."""
MIN_PIXELS = 40
MIN_FRAMES = 3
MOMENTS = ("start", "end")
"""Which frame a question is about: the first or the last."""


class Film:
    """Frames of a clip through one camera.

    Args:
        clip: the episode's moments.
        camera: number of the camera.
        frames: which moments, in the order in which the video shows them; all of them when not given.
    """

    def __init__(self, clip: Clip, *, camera: int, frames: Sequence[int] | None = None) -> None:
        self.clip = clip
        self.camera = camera
        self.frames = tuple(range(len(clip.frames)) if frames is None else frames)
        self.views: tuple[View, ...] = tuple(view_of(clip.frames[frame], camera=camera) for frame in self.frames)
        self.name = self.views[0].name

    @property
    def stands_still(self) -> bool:
        """Whether the camera never moves."""
        poses = np.stack([view.world_to_camera for view in self.views])
        return bool(np.ptp(poses, axis=0).max() < 1e-6)

    def at(self, moment: str) -> View:
        """The first or the last picture."""
        return self.views[0 if moment == "start" else -1]

    def part(self, frames: Sequence[int]) -> Film:
        """Some of this film's frames by their place in it, in another order if so given."""
        return Film(self.clip, camera=self.camera, frames=[self.frames[place] for place in frames])

    def backwards(self) -> Film:
        """The film run backwards."""
        return self.part(range(len(self.frames))[::-1])

    def stretch(self, rng: np.random.Generator) -> Film:
        """A random run of at least `MIN_FRAMES` frames, forwards or backwards."""
        total = len(self.frames)
        size = int(rng.integers(min(MIN_FRAMES, total), total + 1))
        start = int(rng.integers(total - size + 1))
        part = self.part(range(start, start + size))
        return part.backwards() if rng.random() < 0.5 else part

    def lasting(self) -> list[Seen]:
        """Objects with names of their own that are clear at the start and at the end, as they are seen at the start."""
        at_end = {seen.number for seen in clear(self.views[-1])}
        return [seen for seen in clear(self.views[0]) if seen.number in at_end]

    def item(
        self,
        family: Any,
        *,
        question: str,
        answer: str,
        about: dict[str, Any],
        marks: Sequence[Mark] = (),
        images: Sequence[Array] | None = None,
        contest: Sequence[str] = (),
    ) -> QAItem:
        """A question about this video, with what every checker of videos needs: the camera and the frames shown."""
        return QAItem(
            family=family.name,
            level=family.level,
            kind=VIDEO,
            question=question if family.short_prompt else f"{PREFIX} {question}",
            answer=answer,
            images=tuple(view.image for view in self.views) if images is None else tuple(images),
            fps=self.clip.fps,
            marks=tuple(marks),
            about={"camera": self.name, "frames": list(self.frames), **about},
            contest=tuple(contest),
        )


def films_of(clip: Clip) -> list[Film]:
    """One film a camera."""
    return [Film(clip, camera=camera) for camera in range(len(clip.frames[0].cameras))]


def still_films(clip: Clip) -> list[Film]:
    """The films of cameras that do not move."""
    return [film for film in films_of(clip) if film.stands_still]


def clear(view: View) -> list[Seen]:
    """Objects with names of their own that a frame shows well."""
    return view.unique(min_visible=MIN_VISIBLE, min_pixels=MIN_PIXELS)


def loose(objects: Sequence[Seen]) -> list[Seen]:
    """The objects, of those that are fixed the first only: how two of these lie could be learnt by their names."""
    fixed = [seen.number for seen in objects if seen.is_fixed]
    return [seen for seen in objects if seen.number not in fixed[1:]]


def middle_column(seen: Seen) -> float:
    """Mean column of an object's visible pixels."""
    return float(np.nonzero(seen.mask)[1].mean())
