"""The seam of asynchronous chunks: a reply comes when its first actions' time has passed, and other ones have run.

Skipping those would lose what they were for. An action that commands a change of pose is gone when it is skipped: a
hand that sees itself 2 cm beside the can stays there, chunk after chunk, for every correction lies at a beginning.
So what the skipped increments would have moved further than those that ran is added to the actions that follow. Only
half of it: the next picture was taken before the correction, so that the policy asks for it again, and all of it each
time would make the hand swing. What the arm did not move because nothing ran is not made up: it just comes later.

Numpy only. Letters: C chunk, A action, k actions of it whose time has passed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vst_vla.vla.contracts import ActionSpec, Array

SHARE = 0.5
"""Of what was lost, made up after one reply."""


def caught_up(chunk: Array, *, ran: Sequence[Array | None], over: int, spec: ActionSpec) -> Array:
    """The chunk (C,A) with half of its lost increments added to the `over` actions after the k that are too late.

    Args:
        chunk: answers the observation of k periods ago.
        ran: the k actions (A,) that were executed since, None where the arm held.
        over: actions among which the rest is shared out; what does not fit into the action's range moves on.
        spec: tells which numbers are increments, and their range.
    """
    mended, passed, columns = chunk.copy(), len(ran), list(spec.increments)
    lost = np.zeros(len(columns))
    for planned, action in zip(chunk, ran, strict=False):
        if action is not None:
            lost += SHARE * (planned[columns] - action[columns])
    for left, row in zip(range(over, 0, -1), mended[passed:], strict=False):
        wanted = row[columns] + lost / left
        row[columns] = np.clip(wanted, spec.low, spec.high)
        lost = lost * (1 - 1 / left) + (wanted - row[columns])
    return mended


def faded(chunk: Array, *, old: Sequence[Array], passed: int) -> Array:
    """The chunk (C,A) with its first actions after the `passed` ones mixed with the old chunk's for the same periods.

    For actions that command places: those of two chunks need not meet.

    Args:
        chunk: the new one.
        old: what the old chunk has for these periods (A,), as many as are to be mixed.
        passed: actions of the new chunk whose time has passed.
    """
    mixed = chunk.copy()
    for place, (row, before) in enumerate(zip(mixed[passed:], old, strict=False), start=1):
        share = place / (len(old) + 1)
        row[:] = share * row + (1 - share) * before
    return mixed
