"""Scene captions of two pictures: what each shows, how the camera moved, and one layout that joins them.

Only objects that are clear in one of the pictures and have a name of their own are described, each order and place only
where it is beyond doubt. Places are told in the frame of the first camera's viewer: left or right by at least
`MIN_SIDE`, distances between box centres.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.geometry import apply
from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.mi_camera_relation import side_of
from vst_vla.envs.qa.pairs import Pair, pairs_of, position
from vst_vla.envs.qa.view import Seen
from vst_vla.envs.qa.wording import choose, length_text, spoken_list
from vst_vla.vla.contracts import Array, SceneState

MIN_SIDE = 0.05
"""Metres by which one object lies to the left or right of another, or nearer, before a caption says so."""

_MOST_RELATIONS = 4
_QUESTIONS = (
    "Describe the scene that both pictures show.",
    "Two pictures show one scene. What stands where, and how do the two views differ?",
    "Give one caption of the scene, joining what both views show.",
    "Summarize the layout of this scene from its two pictures.",
)
_OPENINGS = (
    "Both pictures show {objects}.",
    "Both views contain {objects}.",
    "The two views share {objects}.",
)


@dataclass(frozen=True, kw_only=True)
class MultiImageCaption:
    """Asks for a description of a scene from two pictures.

    Args:
        short_prompt: the plainest wording.
    """

    name: ClassVar[str] = "mi_caption"
    level: ClassVar[str] = "L2"

    short_prompt: bool = False

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, each about another pair; none when no two cameras show the same objects."""
        pairs = pairs_of(scene)
        return [self._item(pairs[int(place)], rng) for place in rng.permutation(len(pairs))[:count]]

    def _item(self, pair: Pair, rng: np.random.Generator) -> QAItem:
        objects = pair.either()
        mixed = [objects[int(i)] for i in rng.permutation(len(objects))]
        question = choose(_QUESTIONS, rng=rng, short=self.short_prompt)
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=f"{pair.lens_text} {question}",
            answer=" ".join([*_contents(pair, rng), *_cameras(pair), *_layout(mixed, pair)]),
            images=(pair.first.image, pair.second.image),
            about={"cameras": pair.names, "objects": [seen.name for seen in mixed]},
        )


def _contents(pair: Pair, rng: np.random.Generator) -> list[str]:
    """What both show, and what one shows of which the other shows nothing."""
    sentences = [choose(_OPENINGS, rng=rng).format(objects=_names(pair.both()))]
    for word, view, other in (("1", pair.first, pair.second), ("2", pair.second, pair.first)):
        alone = [seen for seen in view.unique() if not other.pixels[seen.number]]
        sentences += [f"Only picture {word} shows {_names(alone)}."] if alone else []
    return sentences


def _cameras(pair: Pair) -> list[str]:
    metres = length_text(float(np.linalg.norm(position(pair.second) - position(pair.first))), unit="m")
    side = side_of(pair)
    where = f", on the {side} side of its viewer" if side else ""
    return [f"Picture 2 was taken {metres} from where picture 1 was taken{where}."]


def _layout(objects: Sequence[Seen], pair: Pair) -> list[str]:
    """How neighbours in the list lie to each other for the viewer of picture 1."""
    sentences = []
    for one, other in list(itertools.pairwise(objects))[:_MOST_RELATIONS]:
        places = _place(one, pair), _place(other, pair)
        metres = length_text(float(np.linalg.norm(places[0] - places[1])), unit="m")
        if sides := " and ".join(_sides(*places)):
            relation = f"the {one.category} is {sides} the {other.category}"
            sentences.append(f"For the viewer of picture 1, {relation}, {metres} from center to center.")
        else:
            sentences.append(f"The {one.category} and the {other.category} are {metres} apart from center to center.")
    return sentences


def _place(seen: Seen, pair: Pair) -> Array:
    return apply(pair.first.world_to_camera, points=seen.view.scene.poses[seen.number, :3, 3])


def _sides(one: Array, other: Array) -> list[str]:
    """One place relative to another in the first camera's axes: to the right of it and nearer, say.

    Left and right are told only where the picture agrees: for places in front of the camera, in this order there too.
    Nearer is told where depth and straight distance agree.
    """
    step = one - other
    ahead = min(one[2], other[2]) > 0
    agrees = ahead and (one[0] / one[2] > other[0] / other[2]) == (step[0] > 0)
    words = ["to the right of" if step[0] > 0 else "to the left of"] if agrees and abs(step[0]) >= MIN_SIDE else []
    farther = float(np.linalg.norm(one) - np.linalg.norm(other))
    if min(abs(step[2]), abs(farther)) >= MIN_SIDE and (step[2] > 0) == (farther > 0):
        words.append("farther away than" if farther > 0 else "nearer than")
    return words


def _names(objects: Sequence[Seen]) -> str:
    return spoken_list([seen.category for seen in objects])
