"""One shard's lesson: reasoning items go to the teacher and come back with its thoughts, or not at all.

A reply is kept only when its answer equals the truth; then its thought stands in the item instead of the program's.
Everything else is dropped and counted, and other questions are asked in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.layout import layout_of
from vst_vla.envs.qa.reasoning import think_text
from vst_vla.envs.qa.teacher import Teacher
from vst_vla.envs.qa.teacher_endpoint import Endpoint, Unanswered
from vst_vla.envs.qa.teacher_prompt import teacher_messages
from vst_vla.envs.qa.teacher_reply import MALFORMED, RIGHT, WRONG, Verdict, judge
from vst_vla.vla.contracts import SceneState

MOST_SILENT = 8
"""Questions in a row without any reply, after which a teacher is given up."""
FIRST_REPLIES = 48
"""Replies of which at least one must be right, or the teacher is given up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Taught:
    """What became of some items."""

    kept: tuple[QAItem, ...]
    dropped: tuple[QAItem, ...]


class Lesson:
    """Asks one teacher about a shard's items.

    Attributes:
        counts: questions by what `teacher_reply` calls their outcome; only the right ones were kept.
    """

    def __init__(self, teacher: Teacher) -> None:
        self.counts: Counter[str] = Counter()
        self._teacher = teacher
        self._endpoint = Endpoint(teacher)
        self._silent = 0

    def teach(self, items: Sequence[QAItem], *, scene: SceneState) -> Taught:
        """The items, reasoning ones with the teacher's thought or dropped; others are kept as they are.

        Raises:
            OSError: nobody answers at the teacher's address, or no longer.
            ValueError: the endpoint refuses the request, or the teacher is never right.
        """
        asked = [item for item in items if item.thinking]
        fates = dict(zip(map(id, asked), self._verdicts(asked, scene), strict=True))
        kept = [_with_thought(item, fates.get(id(item))) for item in items]
        return Taught(
            kept=tuple(item for item in kept if item is not None),
            dropped=tuple(item for item, outcome in zip(items, kept, strict=True) if outcome is None),
        )

    def _verdicts(self, asked: Sequence[QAItem], scene: SceneState) -> list[Verdict]:
        verdicts = []
        pool = ThreadPoolExecutor(self._teacher.parallel)
        try:
            for verdict in pool.map(partial(self._verdict, scene=scene), asked):
                self._count(verdict)
                verdicts.append(verdict)
        finally:
            pool.shutdown(cancel_futures=True)
        return verdicts

    def _verdict(self, item: QAItem, *, scene: SceneState) -> Verdict:
        messages = teacher_messages(item, layout=layout_of(item.about, scene=scene))
        try:
            return judge(self._endpoint.ask(messages), item=item)
        except Unanswered as error:
            return Verdict(kind=error.kind)

    def _count(self, verdict: Verdict) -> None:
        self.counts[verdict.kind] += 1
        self._silent = 0 if verdict.is_reply else self._silent + 1
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(self.counts.items()))
        if self._silent == MOST_SILENT:
            raise OSError(
                f"the teacher {self._teacher.model} left {MOST_SILENT} questions in a row without a reply ({told}): "
                "see to it, or raise teacher.timeout_s; the same command goes on from here"
            )
        if not self.counts[RIGHT] and self.counts[WRONG] + self.counts[MALFORMED] >= FIRST_REPLIES:
            raise ValueError(
                f"the teacher {self._teacher.model} was never right ({told}): choose another teacher.model"
            )


def _with_thought(item: QAItem, verdict: Verdict | None) -> QAItem | None:
    """The item as it is without a verdict, with the teacher's thought when that was right, else None."""
    if verdict is None:
        return item
    if verdict.kind != RIGHT:
        return None
    truth = item.answer.rpartition("</think>")[2]
    return replace(item, answer=think_text([verdict.thought], answer=truth), about={**item.about, "teacher": True})
