"""Invented names for a scene's objects: "the bosu" instead of "the milk", in questions and answers alike.

Who learns from few kinds of objects knows the answers by their names ("the milk is always this tall") and never says
another one. With names that mean nothing, a question can only be answered by what is pointed at (`qa.pointed`), and a
name only be said by reading it in the question; both hold for objects never seen before.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from vst_vla.envs.qa.base import QAItem
from vst_vla.vla.contracts import SceneState
from vst_vla.vla.corpus import CONSONANTS, VOWELS

SYLLABLES = (2, 3)
"""Of an invented name, fewest and most."""


def invent_names(scene: SceneState, *, rng: np.random.Generator) -> dict[str, str]:
    """A name of its own for every category of the scene."""
    names: dict[str, str] = {}
    for category in dict.fromkeys(scene.categories):
        name = invent_name(rng)
        while name in names.values():
            name = invent_name(rng)
        names[category] = name
    return names


def renamed(item: QAItem, *, names: dict[str, str]) -> QAItem:
    """The item with categories called by other names; `about` keeps what they are."""
    known = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + r")\b")

    def told(text: str) -> str:
        return known.sub(lambda match: names[match[1]], text)

    return replace(item, question=told(item.question), answer=told(item.answer), words=told(item.words))


def invent_name(rng: np.random.Generator, *, syllables: tuple[int, int] = SYLLABLES) -> str:
    """A word of so many syllables, fewest and most."""
    count = int(rng.integers(syllables[0], syllables[1] + 1))
    return "".join(str(rng.choice(list(letters))) for _ in range(count) for letters in (CONSONANTS, VOWELS))
