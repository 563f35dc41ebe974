"""Coloured points on the objects that a question names: "the plate (red point)".

A name alone asks a network for what it has been taught to call by it. With the point, a question can be answered about
objects that nobody ever named to it; held-out sets with new kinds of objects want that. Answers stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from vst_vla.envs.qa.base import VIDEO, Mark, QAItem
from vst_vla.envs.qa.marks import COLOURS, covers, draw_marks
from vst_vla.envs.qa.view import Seen, View, views_of
from vst_vla.vla.contracts import Array, SceneState


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
    question = item.question
    for category, name in _named(item, views[0]).items():
        mark = _mark(category, views, marks, colours, rng) if len(marks) < len(colours) else None
        if mark is not None:
            marks.append(mark)
            where = f"{mark.name} point in the first frame" if item.kind == VIDEO else f"{mark.name} point"
            question = name.sub(rf"\g<0> ({where})", question, count=1)
    return replace(item, question=question, marks=tuple(marks), images=_drawn(item, marks)) if marks else item


def _views(item: QAItem, scene: SceneState) -> list[View]:
    """Of the item's pictures, in their order; none where it does not say whose they are."""
    known = {view.name: view for view in views_of(scene)}
    cameras = item.about.get("cameras") or [item.about.get("camera")]
    return [known[camera] for camera in cameras] if set(cameras) <= known.keys() else []


def _named(item: QAItem, view: View) -> dict[str, re.Pattern[str]]:
    """The categories that the question names, in the order in which it first does, with what finds their names."""
    categories = set(view.scene.categories)
    names = {category: _name(category, categories) for category in categories}
    found = {category: match.start() for category in categories if (match := names[category].search(item.question))}
    return {category: names[category] for category in sorted(found, key=lambda category: found[category])}


def _name(category: str, categories: Collection[str]) -> re.Pattern[str]:
    """Finds "the CATEGORY", but not as the beginning of a longer one's name."""
    longer = [re.escape(other[len(category) :]) for other in sorted(categories) if other.startswith(f"{category} ")]
    return re.compile(rf"\bthe {re.escape(category)}\b" + (f"(?!{'|'.join(longer)})" if longer else ""))


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
