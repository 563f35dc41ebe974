"""Object-object relation over two pictures: where one object lies from another that faces a third, seen from above.

The frame of reference is given, never the camera's: "let the milk be north of the basket". Directions run between box
centres. An item needs its three objects at least `min_gap` apart on the level, each clear in one of the pictures, and
a direction inside the middle `SECTOR_SHARE` of its sector. When the pictures allow it, most items take objects that no
single picture shows together.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.choices import lettered, some
from vst_vla.envs.qa.directions import DIALS, bearing, level_length, named
from vst_vla.envs.qa.options import fair_draw, with_options
from vst_vla.envs.qa.pairs import Pair, pairs_of
from vst_vla.envs.qa.view import Seen, View
from vst_vla.envs.qa.wording import choose, joined
from vst_vla.vla.contracts import Array, SceneState

_MOST_OBJECTS = 7
_SPLIT_SHARE = 0.7
_NUM_OTHERS = 3
QUESTIONS = {
    "compass": (
        "Seen from above, let {b} be north of {a}. In which direction from {a} is {c}?",
        "Take the direction from {a} to {b} as north. Which compass direction leads from {a} to {c}?",
        "Suppose that {b} lies to the north of {a}. Where does {c} lie, as seen from {a}?",
    ),
    "sides": (
        "Standing at {a} and facing {b}, on which side is {c}?",
        "Imagine to be at {a} and to look at {b}. In which direction is {c}?",
        "If {a} were you and {b} were straight ahead, where would {c} be?",
    ),
    "clock": (
        "Seen from above, let {b} be at 12 o'clock from {a}. At which hour is {c}?",
        "Put a clock face on {a} so that 12 o'clock points at {b}. Towards which hour does {c} lie?",
    ),
}
"""Dial -> wordings, the plainest first."""
_FORMS = (("compass", "word"), ("compass", "letters"), ("sides", "word"), ("sides", "letters"), ("clock", "letters"))

Triple = tuple[Seen, Seen, Seen]


@dataclass(frozen=True, kw_only=True)
class ObjectRelation:
    """Asks for a direction: a point of the compass, a side or an hour, as a word or by letter.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
        min_gap: m on the level between any two of the three objects.
    """

    name: ClassVar[str] = "mi_object_relation"
    level: ClassVar[str] = "L3"

    short_prompt: bool = False
    min_gap: float = 0.08

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when two pictures show fewer than three objects clearly."""
        found = [(pair, triples) for pair in pairs_of(scene) if (triples := self._triples(pair, rng))]
        items = [self._item(*found[int(rng.integers(len(found)))], rng) for _ in range(count if found else 0)]
        return [item for item in items if item is not None]

    def _triples(self, pair: Pair, rng: np.random.Generator) -> list[Triple]:
        """Ordered threes of objects well apart; most of the time those that no single picture shows, if any."""
        triples = triples_apart(pair.either(), min_gap=self.min_gap, rng=rng)
        shown = [{seen.number for seen in view.unique()} for view in (pair.first, pair.second)]
        split = [t for t in triples if not any(all(seen.number in names for seen in t) for names in shown)]
        return split if split and rng.random() < _SPLIT_SHARE else triples

    def _item(self, pair: Pair, triples: Sequence[Triple], rng: np.random.Generator) -> QAItem | None:
        return direction_item(self, triples, views=(pair.first, pair.second), rng=rng)


def triples_apart(objects: Sequence[Seen], *, min_gap: float, rng: np.random.Generator) -> list[Triple]:
    """Ordered threes of some of the objects, any two of them at least `min_gap` m apart on the level."""
    chosen = [objects[int(i)] for i in rng.permutation(len(objects))[:_MOST_OBJECTS]]
    near = {
        (a.number, b.number)
        for a, b in itertools.permutations(chosen, 2)
        if level_length(_place(a) - _place(b)) < min_gap
    }
    triples = itertools.permutations(chosen, 3)
    return [t for t in triples if not any((a.number, b.number) in near for a, b in itertools.combinations(t, 2))]


def direction_item(
    family: Any, triples: Sequence[Triple], *, views: Sequence[View], rng: np.random.Generator
) -> QAItem | None:
    """A question of `family` about one of the threes; None when the drawn dial names none of their directions.

    Args:
        family: whose name, level and kind of prompt the item has.
        triples: threes of objects: where one is, which one it faces, which one is asked about.
        views: whose pictures are shown.
        rng: of every choice.
    """
    dial, form = _FORMS[int(rng.integers(len(_FORMS)))]
    cases = [(answer, t) for t in triples if (answer := named(_angle(t), dial=DIALS[dial])) is not None]
    if not cases:
        return None
    answer, triple = fair_draw(cases, rng=rng)
    names = [f"the {seen.category}" for seen in triple]
    question = choose(QUESTIONS[dial], rng=rng, short=family.short_prompt)
    question = question.format(a=names[0], b=names[1], c=names[2])
    others = some(DIALS[dial], count=_NUM_OTHERS, without=answer, rng=rng)
    if form == "letters":
        choices = lettered(answer, others=others, rng=rng)
        question, told = with_options(question, choices, short=family.short_prompt), choices.letter
    else:
        told = answer
        question += "" if family.short_prompt else f" Answer with one of: {joined(DIALS[dial], word='or')}."
    objects = [seen.name for seen in triple]
    return QAItem(
        family=family.name,
        level=family.level,
        kind=PICTURES,
        question=question,
        answer=told,
        images=tuple(view.image for view in views),
        about={"cameras": [view.name for view in views], "objects": objects, "dial": dial, "form": form},
        contest=(answer, *others),
        words=answer,
    )


def _place(seen: Seen) -> Array:
    return np.asarray(seen.view.scene.poses[seen.number, :3, 3])


def _angle(triple: Triple) -> float:
    """Direction from the first object to the third, the second lying ahead."""
    start, ahead, goal = (_place(seen) for seen in triple)
    return bearing(ahead - start, to=goal - start)
