"""Counting in a video: how many things of one kind, how many of a list appear, how many lie on one side of another.

Answers are bare numbers. An object counts when one frame at least shows it clearly; a name that does not count belongs
to nothing in the whole scene. Objects to the left or right of another one, in the picture, are at least `MIN_SIDE` of
its width away from it. Names of things that are not there are drawn from the groups to which most of
the scene's own belong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vst_vla.envs.qa.base import Clip, QAItem
from vst_vla.envs.qa.films import MIN_PIXELS, MIN_VISIBLE, MOMENTS, Film, clear, middle_column, still_films
from vst_vla.envs.qa.options import fair_draw
from vst_vla.envs.qa.view import Seen
from vst_vla.envs.qa.wording import choose, joined, spoken_list
from vst_vla.vla.contracts import Array

MIN_SIDE = 0.05
"""Fraction of the picture's width between the middles of visible pixels."""

THINGS = (
    (
        "alphabet soup",
        "bbq sauce",
        "butter",
        "chocolate pudding",
        "cookie box",
        "cream cheese",
        "ketchup",
        "milk",
        "orange juice",
        "salad dressing",
        "tomato sauce",
    ),
    (
        "akita black bowl",
        "chefmate 8 frypan",
        "glazed rim porcelain ramekin",
        "moka pot",
        "plate",
        "porcelain mug",
        "red coffee mug",
        "white bowl",
        "white yellow mug",
        "wine bottle",
    ),
    (
        "basket",
        "black book",
        "desk caddy",
        "flat stove",
        "microwave",
        "white cabinet",
        "wine rack",
        "wooden cabinet",
        "wooden tray",
        "wooden two layer shelf",
        "yellow book",
    ),
)
"""Names of LIBERO's objects, by groups of like things."""

_QUESTIONS = {
    "kind": (
        "How many objects of this kind does the video show: {a}?",
        "Count the objects in the video that are called {a}.",
    ),
    "listed": (
        "How many of these appear in the video: {names}?",
        "Count those of the following that can be seen in the video: {names}.",
        "Of {names}, how many are in the scene of the video?",
    ),
    "side": (
        "At the {moment} of the video, how many of these lie to the {side} of {a} in the picture: {names}?",
        "Look at the {moment} of the video. Of {names}, how many are farther {side} in the picture than {a}?",
    ),
}
_LONGEST_LIST = 5


@dataclass(frozen=True, kw_only=True)
class Counting:
    """Asks for a number of objects.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "video_counting"
    level: ClassVar[str] = "L1"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none without a camera that stands still."""
        films = still_films(clip)
        makers = (self._kind, self._listed, self._side)
        items = [
            makers[int(rng.integers(len(makers)))](films[int(rng.integers(len(films)))], rng)
            for _ in range(count if films else 0)
        ]
        return [item for item in items if item is not None]

    def _kind(self, film: Film, rng: np.random.Generator) -> QAItem | None:
        """Only of scenes that hold two of a kind; as often of another kind, or of one that is missing."""
        numbers = _numbers(film)
        if max(numbers.values(), default=0) < 2:
            return None
        cases = [(str(number), name) for name, number in numbers.items()]
        cases += [("0", name) for name in _missing(film, rng)[:1]]
        answer, name = fair_draw(cases, rng=rng)
        return self._make(film, "kind", answer, {"asked": [name]}, {"a": name}, rng)

    def _listed(self, film: Film, rng: np.random.Generator) -> QAItem | None:
        """Of names that mean one thing each: of two of a name, some would count one and some both."""
        present = [name for name, number in _numbers(film).items() if number == 1]
        absent = _missing(film, rng)
        size = min(_LONGEST_LIST, len(present) + len(absent))
        low, high = max(0, size - len(absent)), min(size, len(present))
        if not present or low == high:
            return None
        number = int(rng.integers(low, high + 1))
        chosen = [present[int(i)] for i in rng.permutation(len(present))[:number]] + absent[: size - number]
        names = [str(name) for name in rng.permutation(chosen)]
        words = {"names": joined(names)}
        return self._make(film, "listed", str(number), {"asked": names}, words, rng)

    def _side(self, film: Film, rng: np.random.Generator) -> QAItem | None:
        moment, side = MOMENTS[int(rng.integers(2))], ("left", "right")[int(rng.integers(2))]
        objects = clear(film.at(moment))
        sign, margin = (1 if side == "right" else -1), MIN_SIDE * film.views[0].width
        cases: list[tuple[str, tuple[Seen, list[Seen]]]] = []
        for anchor in objects:
            rivals = [seen for seen in objects if abs(middle_column(seen) - middle_column(anchor)) >= margin]
            rivals = [rivals[int(i)] for i in rng.permutation(len(rivals))[:_LONGEST_LIST]]
            number = sum(sign * (middle_column(seen) - middle_column(anchor)) > 0 for seen in rivals)
            cases += [(str(number), (anchor, rivals))] if len(rivals) >= 2 else []
        if not cases:
            return None
        answer, (anchor, rivals) = fair_draw(cases, rng=rng)
        words = {"moment": moment, "side": side, "a": f"the {anchor.category}"}
        words["names"] = spoken_list([seen.category for seen in rivals])
        about = {"moment": moment, "side": side, "objects": [seen.name for seen in (anchor, *rivals)]}
        return self._make(film, "side", answer, about, words, rng)

    def _make(
        self, film: Film, form: str, answer: str, about: dict[str, Any], words: dict[str, str], rng: np.random.Generator
    ) -> QAItem:
        question = choose(_QUESTIONS[form], rng=rng, short=self.short_prompt).format(**words)
        question += "" if self.short_prompt else " Answer with a number only."
        return film.item(self, question=question, answer=answer, about={"form": form, **about})


def _numbers(film: Film) -> dict[str, int]:
    """Name -> how many of it the film shows, of names whose every object is either clear in a frame or never seen."""
    scene = film.views[0].scene
    pixels = np.stack([view.pixels for view in film.views])
    visible = np.stack([view.scene.visible[view.camera] for view in film.views])
    shown: Array = np.asarray((pixels > 0).any(axis=0))
    seen_well: Array = np.asarray(((pixels >= MIN_PIXELS) & (visible >= MIN_VISIBLE)).any(axis=0))
    wholes = [number for number in range(scene.num_objects) if scene.parents[number] < 0 and shown[number]]
    unclear = {scene.categories[number] for number in wholes if not seen_well[number]}
    return dict(Counter(name for number in wholes if (name := scene.categories[number]) not in unclear))


def _missing(film: Film, rng: np.random.Generator) -> list[str]:
    """Names of things that the scene does not hold, mixed: of the groups of which it holds most."""
    held = set(film.views[0].scene.categories)
    most = max(len(held & set(group)) for group in THINGS)
    names = [name for group in THINGS if len(held & set(group)) == most for name in group if name not in held]
    return [names[int(i)] for i in rng.permutation(len(names))]
