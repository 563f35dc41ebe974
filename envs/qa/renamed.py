"""Invented names for a scene's objects: "the bosu" or "the flat rim" instead of "the milk", in questions and answers.

Who learns from few kinds of objects knows the answers by their names ("the milk is always this tall") and never says
another one. With names that mean nothing, a question can only be answered by what is pointed at (`qa.pointed`), and a
name only be said by reading it in the question; both hold for objects never seen before.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import replace

import numpy as np

from vst_vla.envs.qa.base import QAItem
from vst_vla.vla.contracts import SceneState
from vst_vla.vla.words import BORROWED, CONSONANTS, VOWELS

SYLLABLES = (2, 3)
"""Of an invented name, fewest and most."""
BORROWING = 0.5
"""Share of the names that are made of other things' words, "glazed ramekin", so that words are read too."""


def invent_names(scene: SceneState, *, rng: np.random.Generator) -> dict[str, str]:
    """A name of its own for every category of the scene."""
    words: list[str] = []
    names: dict[str, str] = {}
    for category in dict.fromkeys(scene.categories):
        word = invent_name(rng)
        while word in words:
            word = invent_name(rng)
        words.append(word)
        borrowed = borrow_name(word)
        names[category] = word if borrowed in names.values() else borrowed
    return names


def renamed(item: QAItem, *, names: dict[str, str]) -> QAItem:
    """The item with categories called by other names; `about` keeps what they are."""
    known = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + r")\b")

    def told(text: str) -> str:
        return known.sub(lambda match: names[match[1]], text)

    turns = tuple((told(question), told(answer)) for question, answer in item.turns)
    return replace(item, question=told(item.question), answer=told(item.answer), words=told(item.words), turns=turns)


def borrow_name(word: str) -> str:
    """The invented word itself, or for half of them always the same one to three words that belong to other things."""
    rng = np.random.default_rng(zlib.crc32(word.encode()))
    if rng.random() >= BORROWING:
        return word
    count = int(rng.choice([1, 2, 3], p=[0.2, 0.4, 0.4]))
    return " ".join(map(str, rng.choice(BORROWED.split(), size=count, replace=False)))


def invent_name(rng: np.random.Generator, *, syllables: tuple[int, int] = SYLLABLES) -> str:
    """A word of so many syllables, fewest and most."""
    count = int(rng.integers(syllables[0], syllables[1] + 1))
    return "".join(str(rng.choice(list(letters))) for _ in range(count) for letters in (CONSONANTS, VOWELS))
