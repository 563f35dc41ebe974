"""How a robot's control loop lives off action chunks: one after the other, averaged, or inferred while others run.

A control loop asks for one action every control period, and each strategy answers with an action that is meant for
that very period, or with none: then the arm holds. `tick` counts control periods, also those in which the arm held, so
that an action is never executed late as if it were fresh. Numpy only. Letters: C chunk, A action, D committed steps.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from vst_vla.policies.seam import caught_up, faded
from vst_vla.vla.contracts import COMMITTED_KEY, STEP_KEY, ActionSpec, Array, Observation, unknown_name

log = logging.getLogger(__name__)

LATE = ("finish", "hold")

Observe = Callable[[], Observation]


@dataclass(frozen=True, kw_only=True)
class TimedAction:
    """An action for one control period.

    age: control periods since the observation that it answers was asked for.
    """

    action: Array  # (A,)
    age: int


@dataclass(kw_only=True)
class ChunkCounts:
    """What a strategy did so far."""

    requests: int = 0
    failures: int = 0  # requests that ended in an error
    stale_replies: int = 0  # whole chunks thrown away because their time had passed
    skipped_actions: int = 0  # actions thrown away because their time had passed
    empty_ticks: int = 0  # control periods without an action

    def since(self, before: ChunkCounts) -> ChunkCounts:
        """What was added to an earlier copy."""
        return ChunkCounts(**{name: value - getattr(before, name) for name, value in asdict(self).items()})


class Answering(Protocol):
    """What is asked for chunks: a policy here, or a `PolicyClient`."""

    @property
    def action_spec(self) -> ActionSpec:
        """What its actions mean."""
        ...

    def infer(self, observation: Observation) -> dict[str, Array]:
        """One observation -> {"actions": (C, A)}."""
        ...

    def reset(self) -> None:
        """A new episode starts."""
        ...


class Strategy(Protocol):
    """One way to execute chunks."""

    counts: ChunkCounts

    def act(self, observe: Observe, *, tick: int) -> TimedAction | None:
        """The action of control period `tick`, None to hold. Calls `observe` when the policy is to be asked.

        Raises what the policy raises; a `ConnectionError` means that it may be back at the next tick.
        """
        ...

    def reset(self) -> None:
        """Forgets the running episode."""
        ...

    def close(self) -> None:
        """Ends what runs in the background."""
        ...


class RecedingHorizon:
    """Executes the first actions of a chunk, then asks again and waits for the reply.

    Args:
        policy: what acts.
        replan: actions executed of each chunk; of a shorter chunk, all.
    """

    def __init__(self, policy: Answering, *, replan: int) -> None:
        self.counts = ChunkCounts()
        self._asker, self._replan = _Asker(policy, self.counts), _checked_replan(replan)
        self._asked_at = 0
        self._left: deque[Array] = deque()

    def act(self, observe: Observe, *, tick: int) -> TimedAction | None:
        """The next action of the chunk, of a new one when it is used up."""
        if not self._left:
            self._asked_at = tick
            self._left.extend(self._asker.chunk(observe(), step=tick)[: self._replan])
        return TimedAction(action=self._left.popleft(), age=tick - self._asked_at)

    def reset(self) -> None:
        """Drops what is left of the chunk."""
        self._left.clear()
        self._asker.policy.reset()

    def close(self) -> None:
        """Nothing runs in the background."""


class OverlappingChunks:
    """Chunks that cover the same steps, averaged step by step.

    Source: temporal ensembling of ACT (Zhao et al. 2023, arXiv 2304.13705): weight exp(-decay * i), i = 0 for the
    oldest chunk.

    Args:
        decay: 0 weighs all chunks alike; the larger, the less new ones count.

    Raises:
        ValueError: for a negative decay.
    """

    def __init__(self, *, decay: float) -> None:
        if decay < 0:
            raise ValueError(f"decay is {decay}, expected 0 or more; ACT uses 0.01")
        self._decay = decay
        self._chunks: list[tuple[int, Array]] = []

    def add(self, chunk: Array, *, step: int) -> None:
        """A chunk (C,A) whose first action is for `step`. Chunks that ended before it are dropped."""
        kept = [(start, old) for start, old in self._chunks if start < step < start + len(old)]
        self._chunks = [*kept, (step, chunk)]

    def at(self, step: int) -> Array | None:
        """The averaged action (A,) of a step, None where no chunk covers it."""
        covering = [chunk[step - start] for start, chunk in self._chunks if start <= step < start + len(chunk)]
        if not covering:
            return None
        weights = np.exp(-self._decay * np.arange(len(covering)))
        mean: Array = np.average(np.stack(covering), axis=0, weights=weights)
        return mean.astype(covering[0].dtype)

    def clear(self) -> None:
        """Forgets all chunks."""
        self._chunks.clear()


class TemporalEnsemble:
    """Asks every few steps, waits for the reply, and averages all chunks that cover a step.

    Args:
        policy: what acts.
        every: control periods between two requests.
        decay: see `OverlappingChunks`.
    """

    def __init__(self, policy: Answering, *, every: int = 1, decay: float = 0.01) -> None:
        self.counts = ChunkCounts()
        self._asker, self._every = _Asker(policy, self.counts), _checked_replan(every)
        self._chunks = OverlappingChunks(decay=decay)
        self._asked_at: int | None = None

    def act(self, observe: Observe, *, tick: int) -> TimedAction | None:
        """The average over the chunks that cover this tick."""
        if self._asked_at is None or tick - self._asked_at >= self._every:
            self._chunks.add(self._asker.chunk(observe(), step=tick), step=tick)
            self._asked_at = tick
        action = self._chunks.at(tick)
        if action is None:
            self.counts.empty_ticks += 1
            return None
        return TimedAction(action=action, age=tick - self._asked_at)

    def reset(self) -> None:
        """Forgets all chunks."""
        self._chunks.clear()
        self._asked_at = None
        self._asker.policy.reset()

    def close(self) -> None:
        """Nothing runs in the background."""


class AsyncChunks:
    """Asks in the background while the current chunk runs, so that the arm does not wait for the policy.

    Real-time chunking as in Black et al. 2025 (arXiv 2506.07339): the actions that run until a reply can be there are
    committed. A policy that can continue a given beginning (`inpaints`) is told them; of any other policy's chunk, the
    actions whose time has passed are skipped, and the first ones after that make up for it (`seam`).

    Args:
        policy: what acts, called from one other thread.
        replan: control periods after a chunk's observation when the next one is asked for.
        blend: actions that make up for the skipped ones, or over which, where actions are places, the old chunk fades
            into the new one; unused where the policy inpaints.
        late: what to do when the reply is not there after `replan` actions: "finish" the chunk and then hold, or
            "hold" at once.

    Raises:
        ValueError: for another `late`, or numbers below 1 (replan) or 0 (blend).
    """

    def __init__(self, policy: Answering, *, replan: int, blend: int = 2, late: str = "finish") -> None:
        if late not in LATE:
            raise unknown_name("late", late, LATE)
        if blend < 0:
            raise ValueError(f"blend is {blend}, expected 0 or more actions")
        self.counts = ChunkCounts()
        self._asker, self._replan = _Asker(policy, self.counts), _checked_replan(replan)
        self._blend, self._late = blend, late
        self._inpaints = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="policy")
        self._pending: tuple[int, Future[Array]] | None = None
        self._chunk: tuple[int, Array] | None = None
        self._ran: dict[int, Array] = {}  # by tick, since the pending request
        self._delay = 1

    def act(self, observe: Observe, *, tick: int) -> TimedAction | None:
        """The running chunk's action for this tick. Never waits; when no server answers, it is asked again."""
        self._collect(tick)
        due = self._chunk is None or tick - self._chunk[0] >= self._replan
        if due and self._pending is None:
            self._inpaints = bool(getattr(self._asker.policy, "inpaints", False))
            observation = self._with_committed(observe(), tick)
            self._pending = tick, self._pool.submit(self._asker.chunk, observation, step=tick)
            self._ran.clear()
        action = self._at(tick)
        if action is None:
            self.counts.empty_ticks += 1
        else:
            self._ran[tick] = action.action
        return action

    def reset(self) -> None:
        """Drops the running chunk and the pending reply."""
        if self._pending is not None:
            self._pending[1].exception()  # the policy is not to be reset under a running request
        self._pending = self._chunk = None
        self._ran.clear()
        self._asker.policy.reset()

    def close(self) -> None:
        """Ends the background thread once its request has ended."""
        self._pool.shutdown(cancel_futures=True)

    def _collect(self, tick: int) -> None:
        if self._pending is None or not self._pending[1].done():
            return
        (start, reply), self._pending = self._pending, None
        if isinstance(reply.exception(), ConnectionError):  # asked again at once; any other error is raised below
            return
        chunk, delay = reply.result(), tick - start
        self._delay = max(1, delay)
        self.counts.skipped_actions += min(delay, len(chunk))
        if delay >= len(chunk):
            self.counts.stale_replies += 1
        else:
            self._chunk = start, chunk if self._inpaints else self._joined(chunk, start=start, tick=tick)

    def _joined(self, chunk: Array, *, start: int, tick: int) -> Array:
        """The new chunk, fitted to what ran since its observation."""
        spec = self._asker.policy.action_spec
        if spec.increments:
            ran = [self._ran.get(before) for before in range(start, tick)]
            return caught_up(chunk, ran=ran, over=self._blend, spec=spec)
        following = [self._old_at(tick + i) for i in range(self._blend)]
        return faded(chunk, old=[action for action in following if action is not None], passed=tick - start)

    def _old_at(self, tick: int) -> Array | None:
        if self._chunk is None or tick - self._chunk[0] >= len(self._chunk[1]):
            return None
        action: Array = self._chunk[1][tick - self._chunk[0]]
        return action

    def _at(self, tick: int) -> TimedAction | None:
        if self._chunk is None:
            return None
        age = tick - self._chunk[0]
        action = self._old_at(tick) if self._late == "finish" or age < self._replan else None
        return None if action is None else TimedAction(action=action, age=age)

    def _with_committed(self, observation: Observation, tick: int) -> Observation:
        if not self._inpaints or self._chunk is None:
            return observation
        begin = tick - self._chunk[0]
        committed = self._chunk[1][begin : begin + self._delay]
        return observation | {COMMITTED_KEY: committed} if len(committed) else observation


class _Asker:
    """Asks a policy, counts, and logs the first failure of a row and its end."""

    def __init__(self, policy: Answering, counts: ChunkCounts) -> None:
        self.policy, self._counts, self._away = policy, counts, False

    def chunk(self, observation: Observation, *, step: int) -> Array:
        """The policy's chunk (C,A) for the observation of a control period, whose number a server is told."""
        self._counts.requests += 1
        try:
            actions = self.policy.infer({**observation, STEP_KEY: step})["actions"]
        except ConnectionError as error:
            self._counts.failures += 1
            if not self._away:
                log.warning("no actions: %s", error)
            self._away = True
            raise
        if self._away:
            log.warning("the policy answers again after %d failed requests", self._counts.failures)
        self._away = False
        return actions


def _checked_replan(replan: int) -> int:
    if replan < 1:
        raise ValueError(f"replan is {replan}, expected at least 1 action")
    return replan
