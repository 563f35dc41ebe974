"""Inference off the event loop: one thread that takes all waiting observations in one forward pass.

A request that arrives while the policy is busy waits for the next pass, together with all others that did; nothing is
held back to fill a batch. Letters: B batch, C chunk, A action.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from dataclasses import dataclass

from vst_vla.policies.server_metrics import ServerMetrics
from vst_vla.vla.contracts import Array, Observation, Policy


@dataclass(frozen=True, kw_only=True)
class Inference:
    """One reply of the policy and how it came about."""

    actions: Array  # (C,A) physical units
    infer_ms: float  # the forward pass
    batch: int  # observations B in it


@dataclass(frozen=True, kw_only=True)
class _Job:
    observation: Observation
    future: asyncio.Future[Inference]


class Batcher:
    """Runs a policy in a thread of its own, for coroutines of one event loop.

    Args:
        policy: a stateless policy: what it replies depends on the observation alone.
        max_batch: most observations B in one pass.
        metrics: where passes are counted.
    """

    def __init__(self, policy: Policy, *, max_batch: int, metrics: ServerMetrics) -> None:
        self._policy, self._max_batch, self._metrics = policy, max_batch, metrics
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    async def infer(self, observation: Observation) -> Inference:
        """The policy's actions for one observation; raises what the policy raises for it."""
        future: asyncio.Future[Inference] = self._loop.create_future()
        self._jobs.put(_Job(observation=observation, future=future))
        return await future

    async def stop(self, *, grace_s: float) -> None:
        """Ends the thread after the jobs that wait, or leaves it behind after `grace_s` seconds."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, grace_s)

    def _work(self) -> None:
        while jobs := self._next_jobs():
            outcomes = self._run(jobs)
            self._loop.call_soon_threadsafe(_deliver, jobs, outcomes)

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

    def _run(self, jobs: list[_Job]) -> list[Inference | Exception]:
        """A batch that fails is run one by one, so that only those that cannot be answered fail."""
        try:
            return self._infer(jobs)
        except Exception as error:  # whatever a policy raises goes to the client that asked
            if len(jobs) == 1:
                return [error]
            return [outcome for job in jobs for outcome in self._run([job])]

    def _infer(self, jobs: list[_Job]) -> list[Inference | Exception]:
        start = time.perf_counter()
        replies = self._policy.infer_batch([job.observation for job in jobs])
        seconds = time.perf_counter() - start
        self._metrics.inferred(batch=len(jobs), seconds=seconds)
        return [Inference(actions=r["actions"], infer_ms=seconds * 1e3, batch=len(jobs)) for r in replies]


def _deliver(jobs: list[_Job], outcomes: list[Inference | Exception]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.done():  # its client went away meanwhile
            continue
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
