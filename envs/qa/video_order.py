"""Spatio-temporal order in a video: in which order objects first come into view, or the gripper comes closest to them.

*appear* is asked of the moving wrist camera: an object comes into view in the first frame of which it fills
`MIN_SHARE`, when no earlier frame shows any of it. *approach* is asked of cameras that stand still: the gripper is at
least `MIN_LEAD` nearer to the first object at its moment than ever from the second one's moment on, and the other way
round. Videos, and stretches of them, run backwards as well, since a task handles its objects in one order only, which
could be learnt by name: the options of *approach* are the orders that the objects have in one of these, each equally
often right. What comes into view seldom does so in another order, so *appear* has a quarter only and any orders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import Clip, QAItem
from vst_vla.envs.qa.choices import lettered, some
from vst_vla.envs.qa.films import MIN_PIXELS, Film, clear, films_of
from vst_vla.envs.qa.options import fair_draw, with_options
from vst_vla.envs.qa.wording import choose, joined
from vst_vla.vla.contracts import Array

MIN_LEAD = 0.03
"""Metres by which the gripper is nearer to an object at its moment than ever on the other side of another's."""
MIN_SHARE = 0.003
"""Fraction of a picture that an object fills when it comes into view."""

_QUESTIONS = {
    "appear": (
        "In which order do {names} first come into view in the video?",
        "{names}: in what order do these first appear in the video?",
        "What is the order of first appearance of {names}?",
    ),
    "approach": (
        "The gripper comes closest to the centers of {names} at different moments of the video. In which order are "
        "these moments?",
        "To the centers of {names}, the gripper has its smallest distances at different times. What is the order of "
        "these times?",
    ),
}
_MOST_OBJECTS = 4
_NUM_OTHERS = 3
_NUM_STRETCHES = 4
_APPEAR_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class VideoOrder:
    """Asks for the order of two to four moments, by letter.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "video_order"
    level: ClassVar[str] = "L2"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no two objects have different moments."""
        films = [film for whole in films_of(clip) for film in (whole, whole.backwards(), *_stretches(whole, rng))]
        chains = [(film, form, tellable) for film in films for form, tellable in _chains(film) if len(tellable) > 1]
        by_form = {form: [row for row in chains if row[1] == form] for form in {form for _, form, _ in chains}}
        items = [self._item(_drawn(by_form, rng), rng) for _ in range(count if chains else 0)]
        return [item for item in items if item is not None]

    def _item(self, chains: Sequence[tuple[Film, str, list[str]]], rng: np.random.Generator) -> QAItem | None:
        """A question about a random part of one of the chains, which are all of one form."""
        _, form, chain = chains[int(rng.integers(len(chains)))]
        size = min(len(chain), int(rng.integers(2, _MOST_OBJECTS + 1)))
        parts = {str(name) for name in rng.permutation(chain)[:size]}
        found = [(film, [name for name in names if name in parts]) for film, _, names in chains]
        cases = [(" ".join(order), (film, order)) for film, order in found if len(order) == size]
        _, (film, chosen) = fair_draw(cases, rng=rng)
        scene = film.views[0].scene
        spoken = {name: scene.categories[scene.names.index(name)] for name in chosen}
        answer = _text([spoken[name] for name in chosen])
        told = [order for _, (_, order) in cases] if form == "approach" else itertools.permutations(chosen)
        orders = sorted({_text([spoken[name] for name in order]) for order in told})
        others = some(orders, count=_NUM_OTHERS, without=answer, rng=rng)
        if not others:
            return None
        choices = lettered(answer, others=others, rng=rng)
        mixed = joined([f"the {spoken[str(name)]}" for name in rng.permutation(chosen)])
        question = choose(_QUESTIONS[form], rng=rng, short=self.short_prompt).format(names=mixed)
        return film.item(
            self,
            question=with_options(question[0].upper() + question[1:], choices, short=self.short_prompt),
            answer=choices.letter,
            about={"form": form, "objects": chosen},
            contest=(answer, *others),
        )


def _drawn(
    by_form: Mapping[str, list[tuple[Film, str, list[str]]]], rng: np.random.Generator
) -> list[tuple[Film, str, list[str]]]:
    """The chains of a form: those of approach mostly, where there are any."""
    if len(by_form) == 1:
        return next(iter(by_form.values()))
    return by_form["appear" if rng.random() < _APPEAR_SHARE else "approach"]


def _stretches(film: Film, rng: np.random.Generator) -> list[Film]:
    """Parts of a film, each with its like run the other way."""
    parts = [film.stretch(rng) for _ in range(_NUM_STRETCHES)]
    return [shown for part in parts for shown in (part, part.backwards())]


def _text(names: Sequence[str]) -> str:
    return " then ".join(names)


def _chains(film: Film) -> list[tuple[str, list[str]]]:
    """Form -> instance names in order, of objects whose moments can all be told apart."""
    if not film.stands_still:
        moments = appearances(film)
        return [("appear", _chain(moments, lambda one, other: moments[one] < moments[other]))]
    distances = approaches(film)
    moments = {name: int(values.argmin()) for name, values in distances.items()}

    def before(one: str, other: str) -> bool:
        at_one, at_other = moments[one], moments[other]
        if at_one >= at_other:
            return False
        leads = (
            distances[one][at_other:].min() - distances[one][at_one],
            distances[other][: at_one + 1].min() - distances[other][at_other],
        )
        return min(leads) >= MIN_LEAD

    return [("approach", _chain(moments, before))]


def _chain(moments: Mapping[str, int], before: Callable[[str, str], bool]) -> list[str]:
    """The objects by moment, leaving out those that are not clearly after all before them."""
    chain: list[str] = []
    for name in sorted(moments, key=lambda name: moments[name]):
        if all(before(earlier, name) for earlier in chain):
            chain.append(name)
    return chain


def appearances(film: Film) -> dict[str, int]:
    """Instance name -> place of the frame in which it comes into view, where that is beyond doubt."""
    scene = film.views[0].scene
    pixels = np.stack([view.pixels for view in film.views])  # (T,O)
    least = max(MIN_PIXELS, MIN_SHARE * film.views[0].width ** 2)
    found: dict[str, int] = {}
    for number, name in enumerate(scene.names):
        is_named = scene.parents[number] < 0 and scene.categories.count(scene.categories[number]) == 1
        shown = np.flatnonzero(pixels[:, number])
        if is_named and len(shown) and pixels[shown[0], number] >= least:
            found[name] = int(shown[0])
    return found


def approaches(film: Film) -> dict[str, Array]:
    """Instance name -> distances (T,) in m between the gripper and the box centre, of objects clear at the start."""
    hands = np.stack([view.scene.gripper.pose[:3, 3] for view in film.views])
    return {
        seen.name: np.linalg.norm(
            np.stack([view.scene.poses[seen.number, :3, 3] for view in film.views]) - hands, axis=-1
        )
        for seen in clear(film.views[0])
    }
