"""Short free answers, compared word by word after VQA's normalisation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from vst_vla.vla.tasks.base import Task
from vst_vla.vla.tasks.quantities import NUMBER_WORDS

_DIGITS = {word: str(number) for number, word in enumerate(NUMBER_WORDS[:11])} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_SHORT_FORMS = (
    "ain't", "aren't", "can't", "could've", "couldn't", "didn't", "doesn't", "don't", "hadn't", "hasn't",
    "haven't", "he's", "how's", "i'd", "i'm", "i've", "isn't", "it'd", "it'll", "let's", "ma'am", "might've",
    "mightn't", "must've", "mustn't", "needn't", "o'clock", "shan't", "she's", "should've", "shouldn't",
    "somebody's", "someone's", "something's", "that's", "there's", "they'd", "they'll", "they're", "they've",
    "wasn't", "we've", "weren't", "what'll", "what're", "what's", "what've", "where'd", "where's", "who'd",
    "who'll", "who's", "who've", "why's", "won't", "would've", "wouldn't", "y'all", "you'd", "you'll", "you're",
    "you've",
)  # fmt: skip
_CONTRACTIONS = {word.replace("'", ""): word for word in _SHORT_FORMS}
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d)")
_DOT = re.compile(r"(?<!\d)\.|\.(?!\d)")
_MARKS = r";/\[\]\"{}()=+\\_\-<>@`,?!"
_LOOSE_MARK = re.compile(rf"(?<=\s)[{_MARKS}]|[{_MARKS}](?=\s|$)|^[{_MARKS}]")
_TIGHT_MARK = re.compile(rf"[{_MARKS}]")


@dataclass(frozen=True, kw_only=True)
class Words(Task[str]):
    """A few words, or a number in digits or letters.

    VQA's score with one truth (Goyal et al., arXiv 1612.00837; EvalAI's normalisation): 1 when both texts are equal
    without case, articles, punctuation and thousands separators, with number words as digits and with the apostrophes
    of contractions put back.
    """

    name: ClassVar[str] = "vqa_score"
    answers: ClassVar[str] = "a few words"

    def _read(self, text: str) -> str | None:
        return normalise(text) or None

    def compare(self, answer: str, *, truth: str) -> float:
        """1 for equal normalised texts."""
        return float(answer == truth)


def normalise(text: str) -> str:
    """EvalAI's normalisation of one answer; a mark between two words becomes a space, one beside a space nothing."""
    text = _COMMA_IN_NUMBER.sub("", " ".join(text.lower().split()))
    text = _TIGHT_MARK.sub(" ", _LOOSE_MARK.sub("", text))
    words = [_DIGITS.get(word, word) for word in _DOT.sub("", text).split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)
