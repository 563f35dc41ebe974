"""Measurement in a video: a size of one object, or how far it was carried. Answers are bare numbers, in centimeters.

The object is marked by a point in the first frame and not named, since every milk carton of a simulator is as tall as
the next one. Sizes are sides of its box, as in `measurement`. A carried object moved at least `min_move` between the
first and the last frame, and both show it clearly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import Clip, QAItem
from vst_vla.envs.qa.films import Film, clear, still_films
from vst_vla.envs.qa.marks import draw_marks
from vst_vla.envs.qa.measurement import standing_height
from vst_vla.envs.qa.points import colour_points
from vst_vla.envs.qa.view import Seen
from vst_vla.envs.qa.wording import choose

_QUESTIONS = {
    "height": (
        "How tall is the object that has a {0} point in the first frame?",
        "The first frame marks an object in {0}. How tall is it at the start, from its lowest point to its highest?",
    ),
    "longest": (
        "How long is the longest side of the object that has a {0} point in the first frame?",
        "The first frame marks an object in {0}. What is the largest dimension of a tight box around it?",
    ),
    "shortest": (
        "How long is the shortest side of the object that has a {0} point in the first frame?",
        "The first frame marks an object in {0}. What is the smallest dimension of a tight box around it?",
    ),
    "moved": (
        "The first frame marks an object in {0}. How far from that place is it at the end of the video?",
        "The first frame marks an object in {0}. What is the straight distance between its first and its last place?",
        "By how much is the object that starts under the {0} point displaced when the video ends?",
    ),
}
_UNIT = "Answer in centimeters, with a number only."


@dataclass(frozen=True, kw_only=True)
class VideoMeasurement:
    """Asks for a length in a video of a camera that stands still.

    Args:
        short_prompt: the plainest wording.
        min_move: m that a carried object was carried, at least.
    """

    name: ClassVar[str] = "video_measurement"
    level: ClassVar[str] = "L1"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False
    min_move: float = 0.05

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no frame shows an object clearly."""
        films = [film for film in still_films(clip) if self._objects(film)]
        items = [self._item(films[int(rng.integers(len(films)))], rng) for _ in range(count if films else 0)]
        return [item for item in items if item is not None]

    def _objects(self, film: Film) -> list[Seen]:
        return [seen for seen in clear(film.at("start")) if seen.is_simple]

    def _item(self, film: Film, rng: np.random.Generator) -> QAItem | None:
        what = sorted(_QUESTIONS)[int(rng.integers(len(_QUESTIONS)))]
        lengths = [(seen, metres) for seen in self._objects(film) if (metres := self._length(film, seen, what))]
        if not lengths:
            return None
        seen, metres = lengths[int(rng.integers(len(lengths)))]
        marks = colour_points([seen], rng=rng)
        if not marks:
            return None
        question = choose(_QUESTIONS[what], rng=rng, short=self.short_prompt).format(marks[0].name)
        views = film.views
        return film.item(
            self,
            question=f"{views[0].lens_text} {question} {_UNIT}",
            answer=f"{100 * metres:.0f}",
            about={"objects": [seen.name], "what": what},
            marks=marks,
            images=(draw_marks(views[0].image, marks=marks), *(view.image for view in views[1:])),
        )

    def _length(self, film: Film, seen: Seen, what: str) -> float | None:
        """The length in m; None when the object has none of that kind."""
        if what == "height":
            return standing_height(seen)
        if what == "moved":
            metres = self._carried(film, seen)
            return metres if metres is not None and metres >= self.min_move else None
        sides = 2 * seen.half_extents
        return float(sides.max() if what == "longest" else sides.min())

    def _carried(self, film: Film, seen: Seen) -> float | None:
        if seen.number not in {other.number for other in film.lasting()}:
            return None
        places = [view.scene.poses[seen.number, :3, 3] for view in (film.at("start"), film.at("end"))]
        return float(np.linalg.norm(places[1] - places[0]))
