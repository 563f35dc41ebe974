"""What every task is: the one object that reads, scores and rewards a reply, in training and in evaluation alike.

A task is one file here: a class with a `name`, `_read` and `compare`. A record names its tasks by `name` (`mode` in
VST's RL files), so reward and evaluation cannot drift apart.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vst_vla.vla.prompt import split_reply
from vst_vla.vla.tasks.form import is_well_formed

_BOXED = "\\boxed{"


@dataclass(frozen=True, kw_only=True)
class Task[Answer](ABC):
    """Reads an answer out of a reply, compares it with the truth, and pays for form and content.

    A reply never raises: what cannot be read is worth 0. A truth that cannot be read is a ValueError, for it is the
    data's fault.

    Args:
        thinking: whether a well-formed reply must hold one `<think>…</think>` before its answer. Without, the model may
            answer at once, which perception gains from (SpatialTree, arXiv 2512.20617).
    """

    name: ClassVar[str]
    answers: ClassVar[str]
    """What a truth looks like, for errors."""
    weights: ClassVar[Mapping[str, float]] = {"format": 0.5, "accuracy": 0.5}
    """Each reward term's share (VST, https://github.com/Yangr116/VST)."""

    thinking: bool = True

    @abstractmethod
    def _read(self, text: str) -> Answer | None:
        """The answer that a text without reasoning gives; None when there is none."""

    @abstractmethod
    def compare(self, answer: Answer, *, truth: Answer) -> float:
        """How good an answer is, in [0, 1]."""

    def parse(self, reply: str) -> Answer | None:
        """The answer of a whole reply, its reasoning put aside; None when it gives none."""
        return self._read(answer_text(reply))

    def read_truth(self, truth: str) -> Answer:
        """The truth as an answer. Raises ValueError when it is none of this task's."""
        answer = self._read(answer_text(truth))
        if answer is None:
            raise ValueError(f"'{truth}' is no truth for {self.name}: expected {self.answers}")
        return answer

    def score(self, reply: str, *, truth: str) -> float:
        """How good the reply's answer is, in [0, 1]; the truth's own words are always right.

        Raises:
            ValueError: the truth cannot be read.
        """
        expected, answer = self.read_truth(truth), self.parse(reply)
        if answer_text(reply).casefold() == answer_text(truth).casefold():
            return 1.0
        return 0.0 if answer is None else self.compare(answer, truth=expected)

    def well_formed(self, reply: str) -> bool:
        """Whether the reply has the form asked for."""
        return is_well_formed(reply, thinking=self.thinking)

    def reward(self, reply: str, *, truth: str) -> dict[str, float]:
        """Every term of `weights` in [0, 1], unweighted. Raises ValueError when the truth cannot be read."""
        return {"format": float(self.well_formed(reply)), "accuracy": self.score(reply, truth=truth)}


def answer_text(reply: str) -> str:
    r"""What a reply says after its reasoning; of a `\boxed{…}`, the last one's inside (as VST compares them)."""
    answer = split_reply(reply).answer
    _, found, rest = answer.rpartition(_BOXED)
    if not found:
        return answer
    depth = 1
    for brace in re.finditer(r"[{}]", rest):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return rest[: brace.start()].strip()
    return answer
