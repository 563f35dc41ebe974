"""Reasoning about one picture: where an object lies from another's point of view, what is nearest, how far apart.

All of it is told on the level, seen from above, between box centres, so that one plan of the scene answers everything.
Three forms. *direction*: as `mi_object_relation`, from one picture. *compare*: which of two to four objects is nearest
to an anchor, or farthest, by at least `min_lead`. *apart*: whole centimetres between two centres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.choices import lettered
from vst_vla.envs.qa.directions import level_length
from vst_vla.envs.qa.layout import Layout, chart, point_text, rounded
from vst_vla.envs.qa.mi_object_relation import direction_item, triples_apart
from vst_vla.envs.qa.options import with_options
from vst_vla.envs.qa.pairs import faces_somewhere
from vst_vla.envs.qa.perspective import perspective
from vst_vla.envs.qa.reasoning import Steps, reasoned
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.envs.qa.wording import choose, joined
from vst_vla.vla.contracts import SceneState

_MIN_OBJECTS = 3
_MOST_RIVALS = 4
_FORMS = ("direction", "direction", "compare", "apart")
_COMPARE = {
    "nearest": (
        "Seen from above, the center of which object is nearest to that of {anchor}?",
        "On a plan of the scene, what lies closest to {anchor}, center to center?",
    ),
    "farthest": (
        "Seen from above, the center of which object is farthest from that of {anchor}?",
        "On a plan of the scene, what lies most distant from {anchor}, center to center?",
    ),
}
_APART = (
    "Seen from above, how many centimeters are the centers of {a} and {b} apart?",
    "On a plan of the scene, how many centimeters lie between the centers of {a} and {b}?",
)
_ORDERS = {"nearest": "smallest", "farthest": "largest"}


@dataclass(frozen=True, kw_only=True)
class ReasonSingle:
    """Asks about places in one camera's picture: for a direction, an object, or a whole number of centimetres.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
        min_gap: m on the level between any two of the three objects of a direction.
        min_lead: m by which the nearest or farthest object leads.
    """

    name: ClassVar[str] = "reason_single"
    level: ClassVar[str] = "L3"
    thinks: ClassVar[bool] = True

    short_prompt: bool = False
    min_gap: float = 0.08
    min_lead: float = 0.03

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no camera that faces somewhere sees three objects well."""
        views = [v for v in views_of(scene) if faces_somewhere(v) and len(v.unique()) >= _MIN_OBJECTS]
        items = [self._item(views[int(rng.integers(len(views)))], rng) for _ in range(count if views else 0)]
        return [item for item in items if item is not None]

    def _item(self, view: View, rng: np.random.Generator) -> QAItem | None:
        forms: dict[str, Callable[[View, np.random.Generator], QAItem | None]] = {
            "direction": self._direction,
            "compare": self._compare,
            "apart": self._apart,
        }
        item = forms[_FORMS[int(rng.integers(len(_FORMS)))]](view, rng)
        if item is None:
            return None
        layout = chart(view.scene, cameras=[view.name], needed=item.about["objects"], rng=rng)
        if layout is None:
            return None
        return reasoned(item, family=self, layout=layout, steps=_steps(layout, item, rng), rng=rng)

    def _direction(self, view: View, rng: np.random.Generator) -> QAItem | None:
        return direction_item(self, triples_apart(view.unique(), min_gap=self.min_gap, rng=rng), views=(view,), rng=rng)

    def _compare(self, view: View, rng: np.random.Generator) -> QAItem | None:
        mixed = _mixed(view, rng)
        anchor, rivals = mixed[0], mixed[1 : 1 + int(rng.integers(2, _MOST_RIVALS + 1))]
        wish = sorted(_COMPARE)[int(rng.integers(2))]
        gaps = sorted((_gap(anchor, seen), place) for place, seen in enumerate(rivals))
        best, second = (gaps[0], gaps[1]) if wish == "nearest" else (gaps[-1], gaps[-2])
        if abs(best[0] - second[0]) < self.min_lead:
            return None
        right = rivals[best[1]].category
        others = [seen.category for seen in rivals if seen.category != right]
        choices = lettered(right, others=others, rng=rng)
        question = choose(_COMPARE[wish], rng=rng, short=self.short_prompt).format(anchor=f"the {anchor.category}")
        contest = tuple(f"{name}, {wish}" for name in (right, *others))
        about = {"form": "compare", "wish": wish}
        text = with_options(question, choices, short=self.short_prompt)
        return self._make(view, text, choices.letter, [anchor, *rivals], about, contest, right)

    def _apart(self, view: View, rng: np.random.Generator) -> QAItem | None:
        one, other = _mixed(view, rng)[:2]
        question = choose(_APART, rng=rng, short=self.short_prompt)
        question = question.format(a=f"the {one.category}", b=f"the {other.category}")
        question += "" if self.short_prompt else " Answer with a whole number."
        told = f"{100 * _gap(one, other):.0f}"
        return self._make(view, question, told, [one, other], {"form": "apart"}, (), told)

    def _make(
        self,
        view: View,
        question: str,
        answer: str,
        objects: Sequence[Seen],
        about: dict[str, str],
        contest: tuple[str, ...],
        words: str,
    ) -> QAItem:
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question,
            answer=answer,
            images=(view.image,),
            about={"cameras": [view.name], "objects": [seen.name for seen in objects], **about},
            contest=contest,
            words=words,
        )


def _steps(layout: Layout, item: QAItem, rng: np.random.Generator) -> Steps:
    numbers = [layout.number(name) for name in item.about["objects"]]
    if "dial" in item.about:
        return perspective(layout, triple=numbers, dial=item.about["dial"], rng=rng)
    if item.about["form"] == "compare":
        return _comparison(layout, numbers, item.about["wish"])
    return _length(layout, numbers)


def _comparison(layout: Layout, numbers: Sequence[int], wish: str) -> Steps:
    anchor, *rivals = numbers
    gaps = {number: _map_gap(layout, anchor, number) for number in rivals}
    best = min(gaps, key=lambda number: gaps[number] if wish == "nearest" else -gaps[number])
    told = joined([f"{gap:.2f} m to {layout.name(number)}" for number, gap in gaps.items()])
    return Steps(
        sentences=(
            f"Distances on this map count, measured from {layout.name(anchor)} at {point_text(layout.spot(anchor))}.",
            f"It is {told}.",
            f"The {_ORDERS[wish]} of these is the way to {layout.name(best)}.",
        ),
        answer=layout.name(best).removeprefix("the "),
    )


def _length(layout: Layout, numbers: Sequence[int]) -> Steps:
    one, other = numbers
    step = rounded(layout.spot(other) - layout.spot(one))
    metres = _map_gap(layout, one, other)
    return Steps(
        sentences=(
            f"Only the plan counts, not the heights: from {layout.name(one)} to {layout.name(other)} it is "
            f"{point_text(step)}.",
            f"The length of that is {metres:.2f} m.",
        ),
        answer=f"{100 * metres:.0f}",
    )


def _map_gap(layout: Layout, one: int, other: int) -> float:
    return level_length(layout.spot(other) - layout.spot(one))


def _gap(one: Seen, other: Seen) -> float:
    places = one.view.scene.poses[[one.number, other.number], :3, 3]
    return level_length(places[1] - places[0])


def _mixed(view: View, rng: np.random.Generator) -> list[Seen]:
    objects = view.unique()
    return [objects[int(place)] for place in rng.permutation(len(objects))]
