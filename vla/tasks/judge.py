"""What judges one record: the tasks that it names, of which the best counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.tasks import TASKS
from vst_vla.vla.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reply is worth."""

    terms: dict[str, float]  # each in [0, 1]
    weights: Mapping[str, float]

    @property
    def paid(self) -> dict[str, float]:
        """The terms times their weights."""
        return {name: self.weights[name] * value for name, value in self.terms.items()}

    @property
    def reward(self) -> float:
        """What the reply is paid in all."""
        return sum(self.paid.values())


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The tasks of one record and its truth; VST counts the best of several (https://github.com/Yangr116/VST).

    Raises:
        ValueError: the truth is none of a task's.
    """

    tasks: tuple[Task[Any], ...]
    truth: str

    def __post_init__(self) -> None:
        for task in self.tasks:
            task.read_truth(self.truth)

    @property
    def thinking(self) -> bool:
        """Whether the reply is to hold a reasoning."""
        return self.tasks[0].thinking

    def score(self, reply: str) -> float:
        """How good the answer is, in [0, 1]."""
        return max(task.score(reply, truth=self.truth) for task in self.tasks)

    def verdict(self, reply: str) -> Verdict:
        """The terms of the task that pays the reply best."""
        verdicts = [self._by(task, reply) for task in self.tasks]
        return max(verdicts, key=lambda verdict: verdict.reward)

    def _by(self, task: Task[Any], reply: str) -> Verdict:
        return Verdict(terms=task.reward(reply, truth=self.truth), weights=task.weights)


def make_judge(modes: Iterable[str], *, truth: str, thinking: bool | None = None) -> Judge:
    """The judge of a record.

    Args:
        modes: names of tasks, see `TASKS`; a record's `mode`.
        truth: the right answer.
        thinking: whether a reply must reason first; None leaves it to each task: boxes need not, all others must.

    Raises:
        ValueError: no or an unknown name, or a truth that is none of a task's.
    """
    names = list(modes)
    if not names:
        raise ValueError(f"no task to judge '{truth}' by: name some of {', '.join(TASKS)}")
    for name in names:
        if name not in TASKS:
            raise unknown_name("task", name, TASKS)
    options = {} if thinking is None else {"thinking": thinking}
    return Judge(tasks=tuple(TASKS[name](**options) for name in names), truth=truth)
