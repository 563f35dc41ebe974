"""Coloured points on the objects that a question names: "the red-point plate".

A name alone asks a network for what it has been taught to call by it. With the point, a question can be answered about
objects that nobody ever named to it; held-out sets with new kinds of objects want that. The point comes before the name
and at every mention: who reads from left to right knows at the name what is meant, also in a list of options. An answer
that is one of these objects calls it as the question does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from vst_vla.envs.qa.base import VIDEO, Mark, QAItem
from vst_vla.envs.qa.marks import COLOURS, covers, draw_marks
from vst_vla.envs.qa.points import called_with_point
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.vla.contracts import Array, SceneState

FIRST_FRAME = "Points are in the first frame."


def pointed(item: QAItem, *, scene: SceneState, rng: np.random.Generator) -> QAItem:
    """The item with a point on every object that it names and that has room for one, each of another colour.

    Of several pictures the first that shows an object carries its point; of a film, the first frame. An item that has
    points already, and a name that more than one object in view answers to, stay without.

    Args:
        item: about `scene`.
        scene: one moment; a film's first.
        rng: chooses places and colours.
    """
    views = _views(item, scene)
    if item.marks or not views:
        return item
    colours = [str(colour) for colour in rng.permutation(sorted(COLOURS))]
    marks: list[Mark] = []
    question, answer, words = item.question, item.answer, item.words
    for category, mention in _named(item, views[0]).items():
        mark = _mark(category, views, marks, colours, rng) if len(marks) < len(colours) else None
        if mark is not None:
            marks.append(mark)
            called = called_with_point(category, mark=mark)
            question = mention.sub(rf"\g<1>{called}", question)
            answer, words = (_wholly(category).sub(rf"\g<1>{called}", text) for text in (answer, words))
    if not marks:
        return item
    question = f"{FIRST_FRAME} {question}" if item.kind == VIDEO else question
    told = replace(item, question=question, answer=answer, words=words)
    return replace(told, marks=tuple(marks), images=_drawn(item, marks))


def _views(item: QAItem, scene: SceneState) -> list[View]:
    """Of the item's pictures, in their order; none where it does not say whose they are."""
    known = {view.name: view for view in views_of(scene)}
    cameras = item.about.get("cameras") or [item.about.get("camera")]
    return [known[camera] for camera in cameras] if set(cameras) <= known.keys() else []


def _named(item: QAItem, view: View) -> dict[str, re.Pattern[str]]:
    """The categories that the question names, in the order in which it first does, with what finds every mention."""
    categories = set(view.scene.categories)
    found = {c: match.start() for c in categories if (match := _name("the ", c, categories).search(item.question))}
    return {c: _name("the |then |[A-F]\\.? ", c, categories) for c in sorted(found, key=lambda c: found[c])}


def _name(before: str, category: str, categories: Collection[str]) -> re.Pattern[str]:
    """Finds the category behind some words, but not as the beginning of a longer one's name."""
    longer = [re.escape(other[len(category) :]) for other in sorted(categories) if other.startswith(f"{category} ")]
    return re.compile(rf"\b({before}){re.escape(category)}\b" + (f"(?!{'|'.join(longer)})" if longer else ""))


def _wholly(category: str) -> re.Pattern[str]:
    """Finds the category where it is all that is said, or all behind a thought."""
    return re.compile(rf"(\A|</think>){re.escape(category)}\Z")


def _mark(
    category: str, views: Sequence[View], marks: Sequence[Mark], colours: Sequence[str], rng: np.random.Generator
) -> Mark | None:
    """A point on the category's only object, in the first picture that has room for it."""
    for number, view in enumerate(views):
        shown = [seen for seen in view.seen if seen.category == category and view.pixels[seen.number]]
        spot = _spot(shown, view, [mark for mark in marks if mark.image == number], rng)
        if spot is not None:
            return Mark(colours[len(marks)], *spot, number)
    return None


def _spot(shown: Sequence[Seen], view: View, marks: Sequence[Mark], rng: np.random.Generator) -> tuple[int, int] | None:
    spot = shown[0].spot(rng) if len(shown) == 1 else None
    if spot is None or any(covers(spot, (mark.row, mark.column), size=view.width) for mark in marks):
        return None
    return spot


def _drawn(item: QAItem, marks: Sequence[Mark]) -> tuple[Array, ...]:
    images = list(item.images)
    for number in {mark.image for mark in marks}:
        images[number] = draw_marks(images[number], marks=[mark for mark in marks if mark.image == number])
    return tuple(images)
