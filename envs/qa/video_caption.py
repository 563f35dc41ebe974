"""Captions of a video: what it shows, how it is laid out at the start, what the robot carries where.

Told of objects with names of their own that are clear at the start and at the end of a video of a camera that stands
still, and of what is moved and clear at one of the two. An object was moved when it ends at least `MIN_MOVE` from where
it was, and it was not when it ends within `MAX_REST`; what lies between is not mentioned. Sides are those of the
camera's viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import Clip, QAItem
from vst_vla.envs.qa.films import MIN_PIXELS, MIN_VISIBLE, MOMENTS, Film, middle_column, still_films
from vst_vla.envs.qa.view import Seen, View
from vst_vla.envs.qa.wording import choose, joined, length_text, spoken_list
from vst_vla.vla.contracts import Array

MIN_MOVE, MAX_REST = 0.05, 0.01
"""Metres between an object's first and last place."""
MIN_SIDE = 0.05
"""Metres along one of the camera's axes before a direction is told."""

MIN_COLUMNS = 0.05
"""Fraction of the picture's width between the middles of two objects, before one is told to be left of the other."""

_AXES = (("to the left", "to the right"), ("up", "down"), ("towards the camera", "away from the camera"))
_QUESTIONS = (
    "Describe the video: what stands where, and what happens?",
    "Give a caption of this video that says how the scene changes.",
    "What does the robot do in this video, and where do the objects end up?",
    "Summarize the layout of the scene and the motion in it.",
)
_OPENINGS = ("The video shows {objects}.", "In the scene there are {objects}.", "A robot works among {objects}.")


@dataclass(frozen=True, kw_only=True)
class VideoCaption:
    """Asks for a description of a video.

    Args:
        short_prompt: the plainest wording.
    """

    name: ClassVar[str] = "video_caption"
    level: ClassVar[str] = "L2"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, each of another camera or order of frames; none when no camera sees two objects, or
        none sees what the robot carries.
        """
        films = [film for still in still_films(clip) for film in (still, still.backwards())]
        films = [film for film in films if len(film.lasting()) > 1 and _tells_the_work(film)]
        return [self._item(films[int(place)], rng) for place in rng.permutation(len(films))[:count]]

    def _item(self, film: Film, rng: np.random.Generator) -> QAItem:
        objects = film.lasting()
        known = {seen.number for seen in objects}
        hidden = [seen for seen in _movers(film) if seen.number not in known]
        mixed = [objects[int(i)] for i in rng.permutation(len(objects))]
        opening = choose(_OPENINGS, rng=rng).format(objects=spoken_list([seen.category for seen in mixed]))
        sentences = [opening, _order(mixed), *_motions(film, [*mixed, *hidden]), *_grasps(film)]
        question = choose(_QUESTIONS, rng=rng, short=self.short_prompt)
        return film.item(
            self,
            question=f"{film.views[0].lens_text} {question}",
            answer=" ".join(sentences),
            about={"objects": [seen.name for seen in mixed], "hidden": [seen.name for seen in hidden]},
        )


def _order(objects: Sequence[Seen]) -> str:
    """The objects that are clearly apart from each other, from left to right."""
    chain: list[Seen] = []
    for seen in sorted(objects, key=middle_column):
        if not chain or middle_column(seen) - middle_column(chain[-1]) >= MIN_COLUMNS * seen.view.width:
            chain.append(seen)
    return f"At the start, from left to right: {joined([f'the {seen.category}' for seen in chain])}."


def _motions(film: Film, objects: Sequence[Seen]) -> list[str]:
    """What is moved, how far; of two of a kind, one of them; then what rests."""
    scene = film.views[0].scene
    wholes = set(scene.parents)  # an open drawer moves the middle of its cabinet
    article = {name: "The" if scene.categories.count(name) == 1 else "One" for name in scene.categories}
    sentences = [
        f"{article[seen.category]} {seen.category} is moved {_directions(_step(film, seen))}, "
        f"{length_text(_length(film, seen), unit='m')} in a straight line from its first place to its last."
        for seen in objects
        if _length(film, seen) >= MIN_MOVE and seen.number not in wholes
    ]
    resting = [seen.category for seen in objects if _length(film, seen) <= MAX_REST]
    if resting:
        sentences.append(f"{joined([f'the {name}' for name in resting]).capitalize()} {_stay(resting)} in place.")
    return sentences


def _step(film: Film, seen: Seen) -> Array:
    """From the first place to the last, (3,) m in the camera's axes."""
    return np.asarray(film.views[-1].centres[seen.number] - film.views[0].centres[seen.number])


def _length(film: Film, seen: Seen) -> float:
    return float(np.linalg.norm(_step(film, seen)))


def _movers(film: Film) -> list[Seen]:
    """Things without parts that are moved, as far as they are clear at the start or at the end."""
    clear = set().union(*(_numbers(film.at(moment)) for moment in MOMENTS))
    things = [seen for seen in film.views[0].seen if seen.is_simple and seen.number in clear]
    return [seen for seen in things if _length(film, seen) >= MIN_MOVE]


def _tells_the_work(film: Film) -> bool:
    """Whether everything that the gripper holds and moves is told of."""
    told = {seen.number for seen in _movers(film)}
    held = {number for view in film.views for number in view.scene.gripper.held}
    seen = film.views[0].seen
    return all(n in told for n in held if seen[n].is_simple and _length(film, seen[n]) >= MIN_MOVE)


def _numbers(view: View) -> set[int]:
    groups = view.clear(min_visible=MIN_VISIBLE, min_pixels=MIN_PIXELS)
    return {seen.number for group in groups.values() for seen in group}


def _directions(step: Array) -> str:
    words = [_AXES[axis][int(step[axis] > 0)] for axis in range(3) if abs(step[axis]) >= MIN_SIDE]
    return joined(words or [_AXES[axis][int(step[axis] > 0)] for axis in [int(np.argmax(np.abs(step)))]])


def _stay(names: Sequence[str]) -> str:
    return "stays" if len(names) == 1 else "stay"


def _grasps(film: Film) -> list[str]:
    """What the gripper holds when the video begins or ends."""
    held = [(moment, _held(film.at(moment))) for moment in MOMENTS]
    return [f"At the {moment}, the gripper holds {words}." for moment, words in held if words]


def _held(view: View) -> str | None:
    """What is in the gripper, of a fixture its part; None when it cannot be seen."""
    wholes = {view.scene.parents[number] for number in view.scene.gripper.held}
    held = [view.seen[number] for number in view.scene.gripper.held if number not in wholes]
    if any(view.pixels[seen.number] < MIN_PIXELS for seen in held):
        return None
    return joined([f"the {seen.category}" for seen in held] or ["nothing"])
