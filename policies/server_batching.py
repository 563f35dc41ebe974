"""Inference in one thread, which takes all waiting observations in one forward pass and sends the replies itself.

A request that arrives while the policy is busy waits for the next pass, together with all others that did; nothing is
held back to fill a batch. The threads that read the clients' sockets never wait for a pass, so pings are answered
whatever the policy does. Letters: B batch, C chunk, A action.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vst_vla.policies.server_metrics import ServerMetrics
from vst_vla.vla.contracts import Array, Observation, Policy


@dataclass(frozen=True, kw_only=True)
class Inference:
    """One reply of the policy and how it came about."""

    actions: Array  # (C,A) physical units
    infer_ms: float  # the forward pass
    batch: int  # observations B in it


Answer = Callable[[Inference], None]
Fail = Callable[[Exception], None]
Outcome = Inference | Exception


@dataclass(frozen=True, kw_only=True)
class _Job:
    observation: Observation
    answer: Answer
    fail: Fail


class Batcher:
    """Runs a policy in a thread of its own, for requests of many threads.

    Args:
        policy: a stateless policy: what it replies depends on the observation alone.
        max_batch: most observations B in one pass.
        metrics: where passes are counted.
    """

    def __init__(self, policy: Policy, *, max_batch: int, metrics: ServerMetrics) -> None:
        self._policy, self._max_batch, self._metrics = policy, max_batch, metrics
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def submit(self, observation: Observation, *, answer: Answer, fail: Fail) -> None:
        """Has `answer` called with the policy's actions for the observation, in the inference thread.

        When there are none, or `answer` raises, `fail` is called with the error. Both must return quickly.
        """
        self._jobs.put(_Job(observation=observation, answer=answer, fail=fail))

    def stop(self, *, grace_s: float) -> None:
        """Ends the thread after the jobs that wait, or leaves it behind after `grace_s` seconds."""
        self._jobs.put(None)
        self._thread.join(grace_s)

    def _work(self) -> None:
        while jobs := self._next_jobs():
            for job, outcome in zip(jobs, self._run(jobs), strict=True):
                _answer(job, outcome)

    def _next_jobs(self) -> list[_Job]:
        """At least one job, and all others that wait; none when it is time to stop."""
        job = self._jobs.get()
        jobs: list[_Job] = []
        while job is not None:
            jobs.append(job)
            if len(jobs) == self._max_batch or self._jobs.empty():
                return jobs
            job = self._jobs.get()
        self._jobs.put(None)  # found behind jobs that still have to run, or with none left: seen again next time
        return jobs

    def _run(self, jobs: list[_Job]) -> list[Outcome]:
        """A batch that fails is run one by one, so that only those that cannot be answered fail."""
        try:
            return self._infer(jobs)
        except Exception as error:  # whatever a policy raises goes to the client that asked
            if len(jobs) == 1:
                return [error]
            return [outcome for job in jobs for outcome in self._run([job])]

    def _infer(self, jobs: list[_Job]) -> list[Outcome]:
        start = time.perf_counter()
        replies = self._policy.infer_batch([job.observation for job in jobs])
        seconds = time.perf_counter() - start
        self._metrics.inferred(batch=len(jobs), seconds=seconds)
        return [Inference(actions=r["actions"], infer_ms=seconds * 1e3, batch=len(jobs)) for r in replies]


def _answer(job: _Job, outcome: Outcome) -> None:
    if isinstance(outcome, Exception):
        job.fail(outcome)
        return
    try:
        job.answer(outcome)
    except Exception as error:  # one client's reply that cannot be sent must not end the thread for all
        job.fail(error)
