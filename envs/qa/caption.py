"""Scene captions: what a picture shows, where it lies and how it lies to each other, in plain sentences.

Only objects that are seen well and have a name of their own are described; a neighbour is the nearest of all in view.
An order is told only of objects that are clearly apart; what lies too close to tell is left out of that sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.refer import in_view
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.envs.qa.wording import choose, joined, length_text, spoken_list
from vst_vla.vla.contracts import SceneState

_QUESTIONS = {
    "layout": (
        "Describe the scene and where its objects are.",
        "What does the picture show, and how far away is it?",
        "Give a caption of this scene that says where everything stands.",
        "Summarize the layout of the scene.",
    ),
    "relations": (
        "Describe how the objects in the picture lie to each other.",
        "Which spatial relations hold between the objects in this scene?",
        "Give a caption of this scene that tells the order of its objects and which are neighbors.",
        "Explain the arrangement of the objects.",
    ),
}
_OPENINGS = ("The picture shows {objects}.", "In view are {objects}.", "There are {count} objects to see: {objects}.")
_COLUMNS, _ROWS = ("left", "middle", "right"), ("upper", "central", "lower")
_MARGIN = 0.04  # of the picture's width
_MARGIN_M = 0.03


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Asks for a description of one picture: where things are, or how they lie to each other.

    Args:
        short_prompt: the plainest wording.
        min_visible: visible fraction below which an object is not mentioned.
        min_pixels: the same in pixels of the picture.
    """

    name: ClassVar[str] = "caption"
    level: ClassVar[str] = "L2"

    short_prompt: bool = False
    min_visible: float = 0.5
    min_pixels: int = 25

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no camera sees two objects well."""
        found = [
            (view, view.unique(min_visible=self.min_visible, min_pixels=self.min_pixels)) for view in views_of(scene)
        ]
        pairs = [(view, objects, form) for view, objects in found if len(objects) >= 2 for form in _QUESTIONS]
        order = rng.permutation(len(pairs))[:count]
        return [self._item(*pairs[int(place)], rng) for place in order]

    def _objects(self, view: View) -> list[Seen]:
        return view.unique(min_visible=self.min_visible, min_pixels=self.min_pixels)

    def _item(self, view: View, objects: Sequence[Seen], form: str, rng: np.random.Generator) -> QAItem:
        mixed = [objects[int(i)] for i in rng.permutation(len(objects))]
        sentences = _layout(view, mixed, rng) if form == "layout" else _relations(view, mixed, rng)
        question = choose(_QUESTIONS[form], rng=rng, short=self.short_prompt)
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=f"{view.lens_text} {question}",
            answer=" ".join(sentences),
            images=(view.image,),
            about={"camera": view.name, "objects": [seen.name for seen in mixed], "form": form},
        )


def _layout(view: View, objects: Sequence[Seen], rng: np.random.Generator) -> list[str]:
    opening = choose(_OPENINGS, rng=rng).format(count=len(objects), objects=spoken_list([s.category for s in objects]))
    return [opening, *(f"The {seen.category} is {_place(view, seen)}." for seen in objects)]


def _place(view: View, seen: Seen) -> str:
    """Which ninth of the picture the middle of an object's visible pixels lies in, and its distance."""
    rows, columns = np.nonzero(seen.mask)
    row = _ROWS[int(3 * (rows.mean() + 0.5) / view.height)]
    column = _COLUMNS[int(3 * (columns.mean() + 0.5) / view.width)]
    metres = float(np.linalg.norm(seen.centre))
    return f"in the {row} {column} of the picture, {length_text(metres, unit='m')} from the camera"


def _relations(view: View, objects: Sequence[Seen], rng: np.random.Generator) -> list[str]:
    orders = (
        ("From left to right", lambda s: float(np.nonzero(s.mask)[1].mean()), _MARGIN * view.width),
        (
            "By the distance of their centers from the camera, near to far",
            lambda s: float(np.linalg.norm(s.centre)),
            _MARGIN_M,
        ),
    )
    told = [(words, ordered_apart(objects, value, margin)) for words, value, margin in orders]
    sentences = [f"{words}: {_names(chain)}." for words, chain in told if len(chain) >= 2]
    sentences += [sentence for seen in objects if (sentence := _neighbour(seen, objects))]
    return [sentences[int(i)] for i in rng.permutation(len(sentences))] or [f"Only {_names(objects)} are in view."]


def ordered_apart(objects: Sequence[Seen], value: Callable[[Seen], float], margin: float) -> list[Seen]:
    """The objects in order of a value, each at least `margin` after the one before."""
    chain: list[Seen] = []
    for seen in sorted(objects, key=value):
        if not chain or value(seen) - value(chain[-1]) >= margin:
            chain.append(seen)
    return chain


def _neighbour(seen: Seen, objects: Sequence[Seen]) -> str | None:
    """Which object in view is nearest, centre to centre; None when two are about as near, or it is not described."""
    others = [other for other in in_view(seen.view) if other is not seen]
    gaps = sorted((float(np.linalg.norm(o.centre - seen.centre)), o.number) for o in others)
    if len(gaps) < 2 or gaps[1][0] - gaps[0][0] < _MARGIN_M:
        return None
    metres, number = gaps[0]
    name = next((other.category for other in objects if other.number == number), None)
    told = f"The {seen.category} is closest to the {name}, {length_text(metres, unit='m')} from center to center."
    return told if name else None


def _names(objects: Sequence[Seen]) -> str:
    return joined([f"the {seen.category}" for seen in objects])
