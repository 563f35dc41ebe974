"""Rewards as GRPO trainers call them: one function a named term, so that each is logged by itself.

The functions take what `trl.GRPOTrainer` passes to its reward functions and return a number a reply; any trainer that
calls plain functions can use them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.tasks import TASKS
from vst_vla.vla.tasks.judge import Verdict, make_judge

TERMS = tuple(dict.fromkeys(term for task in TASKS.values() for term in task.weights))
"""Every term that some task pays: format, accuracy, count, spatial."""


class RewardTerm:
    """One term of what replies are paid: the task's share of it, times a factor.

    Args:
        name: one of `TERMS`; what logs call it.
        factor: multiplies it; 1 keeps the task's own shares.

    Raises:
        ValueError: an unknown term.
    """

    def __init__(self, name: str, *, factor: float = 1.0) -> None:
        if name not in TERMS:
            raise unknown_name("reward term", name, TERMS)
        self.__name__ = name
        self._factor = factor

    def __call__(
        self,
        *,
        completions: Sequence[Any],
        modes: Sequence[Sequence[str]],
        truth: Sequence[str],
        thinking: Sequence[bool],
        **_: Any,
    ) -> list[float | None]:
        """What each reply is paid; None where its task has no such term.

        Args:
            completions: replies, as text or as one assistant message each.
            modes: the tasks that judge each, see `make_judge`.
            truth: the right answers.
            thinking: whether each was to reason first.
        """
        rows = zip(completions, modes, truth, thinking, strict=True)
        verdicts = [_verdict(reply_text(c), tuple(names), answer, think) for c, names, answer, think in rows]
        return [None if (paid := v.paid.get(self.__name__)) is None else self._factor * paid for v in verdicts]


def reward_terms(
    factors: Mapping[str, float] | None = None, *, modes: Iterable[str] = tuple(TASKS)
) -> list[RewardTerm]:
    """A function for every term that some task pays.

    Args:
        factors: of some terms; 1 where not given, 0 leaves a term out.
        modes: the tasks that judge the replies.

    Raises:
        ValueError: an unknown term, or none left.
    """
    factors = dict(factors or {})
    paid = {term for mode in modes for term in TASKS[mode].weights}
    for name in factors:
        if name not in TERMS:
            raise unknown_name("reward term", name, TERMS)
    kept = [RewardTerm(n, factor=factors.get(n, 1.0)) for n in TERMS if n in paid and factors.get(n, 1.0) != 0]
    if not kept:
        raise ValueError(f"every reward term has the factor 0: keep one of {', '.join(TERMS)}")
    return kept


def reply_text(completion: Any) -> str:
    """The text of a completion: itself, or what its last message says."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


@lru_cache(maxsize=4096)
def _verdict(reply: str, modes: tuple[str, ...], truth: str, thinking: bool) -> Verdict:  # noqa: FBT001 - a cache key
    """Judged once, however many terms are asked for."""
    return make_judge(modes, truth=truth, thinking=thinking).verdict(reply)
