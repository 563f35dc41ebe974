"""A question's item with the reasoning that leads to its answer, written by program from the ground truth.

The order is VST-R's (arXiv 2511.05491): what each view shows, how the camera changed, one layout that joins them, the
frame of reference, the choice. All lengths and angles follow from the layout's rounded places, so a reader can check
every step with the numbers told; an item whose rounded numbers do not lead to the exact answer is not made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.layout import Layout
from vst_vla.envs.qa.pairs import Pair
from vst_vla.envs.qa.sights import change, sights
from vst_vla.envs.qa.wording import choose

_MAPS = (
    "On one map from above, with {camera} at (0.00, 0.00), meters to its right first and meters ahead second: {text}.",
    "Seen from above, in meters to the right of {camera} and ahead of it, there are {text}.",
    "Let {camera} be the origin of a plan, x to its right and y ahead of it, in meters: {text}.",
)
_WORDS = ("So the answer is {answer}.", "Hence the answer: {answer}.", "I answer {answer}.")
_LETTERS = (
    "So the answer is {answer}, {words}.",
    "That is option {answer}, {words}.",
    "The option that says {words} is {answer}.",
)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The end of a reasoning: the frame of reference and what follows in it."""

    sentences: tuple[str, ...]
    answer: str | None  # in words, as the told numbers give it; None when they leave it open


def reasoned(
    item: QAItem, *, family: Any, layout: Layout, steps: Steps, rng: np.random.Generator, name_lens: bool = True
) -> QAItem | None:
    """The item as one of `family`, with its reasoning; None when the steps do not come to the item's answer.

    Args:
        item: a question with its direct answer; `words` is that answer in words.
        family: whose name and level the item gets.
        layout: what the item's pictures show together.
        steps: from the layout to the answer.
        rng: of the wording.
        name_lens: state the field of view in the question, without which no length follows from pictures.
    """
    if steps.answer != item.words:
        return None
    thought = [*sights(layout, rng=rng), *change(layout, rng=rng), _map(layout, rng), *steps.sentences]
    thought.append(_conclusion(item, rng))
    return replace(
        item,
        family=family.name,
        level=family.level,
        question=_with_lens(item.question, layout) if name_lens else item.question,
        answer=think_text(thought, answer=item.answer),
        thinking=True,
        about={**item.about, **layout.about},
    )


def think_text(sentences: Sequence[str], *, answer: str) -> str:
    """A reply as VST's thinking prompt asks for it: the thought in its tags, then the answer alone."""
    return f"<think>{' '.join(sentences)}</think>{answer}"


def _map(layout: Layout, rng: np.random.Generator) -> str:
    return choose(_MAPS, rng=rng).format(camera=layout.camera_name(0), text=layout.text)


def _conclusion(item: QAItem, rng: np.random.Generator) -> str:
    if item.words == item.answer:
        return choose(_WORDS, rng=rng).format(answer=item.answer)
    return choose(_LETTERS, rng=rng).format(answer=item.answer, words=item.words)


def _with_lens(question: str, layout: Layout) -> str:
    """The question with the field of view stated."""
    if "field of view" in question:
        return question
    views = layout.views
    lens = views[0].lens_text if len(views) == 1 else Pair(first=views[0], second=views[1]).lens_text
    return f"{lens} {question}"
