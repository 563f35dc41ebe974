"""Every strategy executes actions that are meant for the very control period, or none."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from vst_vla.policies.chunking import AsyncChunks, OverlappingChunks, RecedingHorizon, TemporalEnsemble
from vst_vla.vla.contracts import LIBERO_ACTION, ActionSpec, Array, Observation

PLACES = replace(LIBERO_ACTION, frame="absolute in the robot base frame")


class Ticking:
    """Answers the observation of tick t with actions whose first number is t, t + 1, … (divided by 1000).

    A reply waits for `release` when the policy is gated, so that tests decide when it arrives.
    """

    action_spec: ActionSpec = LIBERO_ACTION

    def __init__(self, *, chunk: int = 8, gated: bool = False, offset: float = 0.0, inpaints: bool = False) -> None:
        self.chunk, self.gated, self.offset, self.inpaints = chunk, gated, offset, inpaints
        self.asked: list[Observation] = []
        self.failing: Exception | None = None
        self.release = threading.Semaphore(0)

    def infer(self, observation: Observation) -> dict[str, Array]:
        self.asked.append(observation)
        if self.gated:
            assert self.release.acquire(timeout=10)
        if self.failing:
            raise self.failing
        actions = np.zeros((self.chunk, 7), np.float32)
        actions[:, 0] = (observation["tick"] + np.arange(self.chunk)) / 1000 + self.offset
        return {"actions": actions}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        """Stateless."""


def run(strategy, ticks, *, settle_s: float = 0.0) -> list[float | None]:
    """The first number times 1000 of every tick's action: what tick it was meant for."""
    meant = []
    for tick in ticks:
        timed = strategy.act(lambda tick=tick: {"tick": tick}, tick=tick)
        meant.append(None if timed is None else round(float(timed.action[0]) * 1000, 3))
        time.sleep(settle_s)
    return meant


def test_receding_horizon_executes_the_head_of_each_chunk() -> None:
    policy = Ticking()
    strategy = RecedingHorizon(policy, replan=3)
    assert run(strategy, range(8)) == list(range(8))
    assert [o["tick"] for o in policy.asked] == [0, 3, 6]
    strategy.reset()
    assert run(strategy, [20]) == [20]
    assert strategy.counts.requests == 4


def test_receding_horizon_tells_the_age_of_late_actions() -> None:
    strategy = RecedingHorizon(Ticking(), replan=8)
    ages = [strategy.act(lambda: {"tick": 0}, tick=tick).age for tick in (0, 3, 4)]
    assert ages == [0, 3, 4]


def test_overlapping_chunks_weigh_as_act_does() -> None:
    chunks = OverlappingChunks(decay=0.5)
    chunks.add(np.full((4, 7), 1.0, np.float32), step=0)
    chunks.add(np.full((4, 7), 2.0, np.float32), step=2)
    weight = np.exp(-0.5)
    assert chunks.at(3)[0] == pytest.approx((1 + 2 * weight) / (1 + weight))
    assert chunks.at(5)[0] == 2
    assert chunks.at(6) is None
    chunks.add(np.full((4, 7), 3.0, np.float32), step=4)
    assert chunks.at(4)[0] == pytest.approx((2 + 3 * weight) / (1 + weight)), "a chunk that ended no longer counts"


def test_temporal_ensemble_asks_every_few_ticks() -> None:
    policy = Ticking()
    strategy = TemporalEnsemble(policy, every=2, decay=0.0)
    assert run(strategy, range(7)) == list(range(7))
    assert [o["tick"] for o in policy.asked] == [0, 2, 4, 6]


def test_async_never_executes_an_action_out_of_its_time() -> None:
    """With a fast policy, whatever the threads do, each action is the one for its own tick."""
    strategy = AsyncChunks(Ticking(), replan=4, blend=0)
    meant = run(strategy, range(40), settle_s=0.01)
    strategy.close()
    assert meant[0] is None, "nothing is there before the first reply"
    assert all(m in (None, tick) for tick, m in enumerate(meant))
    assert meant.count(None) < 20
    assert strategy.counts.requests > 5


def gated(**options) -> tuple[Ticking, AsyncChunks]:
    policy = Ticking(gated=True, **{k: options.pop(k) for k in ("inpaints", "offset") if k in options})
    return policy, AsyncChunks(policy, **{"replan": 4, "blend": 0, **options})


def arrive(policy: Ticking, strategy: AsyncChunks) -> None:
    """Lets one reply through and waits until it is there."""
    policy.release.release()
    deadline = time.monotonic() + 5
    while not strategy._pending[1].done():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_async_skips_what_passed_while_it_waited() -> None:
    policy, strategy = gated()
    assert run(strategy, [0, 1, 2]) == [None] * 3
    arrive(policy, strategy)
    assert run(strategy, [3]) == [3]
    assert strategy.counts.skipped_actions == 3
    arrive_later = run(strategy, [4, 5, 6, 7])  # asks at 4; the old chunk lasts until 7
    assert arrive_later == [4, 5, 6, 7]
    assert run(strategy, [8, 9]) == [None, None], "the chunk is used up and nothing fresh is there: hold"
    arrive(policy, strategy)
    assert run(strategy, [10]) == [10]
    policy.release.release()
    strategy.close()


def test_async_throws_a_whole_stale_chunk_away() -> None:
    policy, strategy = gated()
    assert run(strategy, [0]) == [None]
    arrive(policy, strategy)
    assert run(strategy, [9]) == [None]
    assert strategy.counts.stale_replies == 1
    deadline = time.monotonic() + 10
    while [o["tick"] for o in policy.asked][-1] != 9:  # asked in the background
        assert time.monotonic() < deadline
    policy.release.release()
    strategy.close()


def test_async_holds_at_once_when_told_to() -> None:
    policy, strategy = gated(late="hold", replan=2)
    run(strategy, [0])
    arrive(policy, strategy)
    assert run(strategy, [1, 2, 3]) == [1, None, None]
    policy.release.release()
    strategy.close()


def test_async_fades_one_chunk_of_places_into_the_next() -> None:
    policy, strategy = gated(blend=1)
    policy.action_spec = PLACES
    run(strategy, [0])
    arrive(policy, strategy)
    run(strategy, [1, 2, 3, 4])
    policy.offset = 0.1
    arrive(policy, strategy)
    assert run(strategy, [5, 6]) == [5 + 50, 6 + 100]
    strategy.close()


def test_async_makes_up_for_the_increments_that_came_too_late() -> None:
    policy, strategy = gated(blend=2)
    run(strategy, [0])
    arrive(policy, strategy)
    assert run(strategy, [1, 2, 3, 4, 5]) == [1, 2, 3, 4, 5]  # asks at 4
    policy.offset = 0.1  # from 4 on, 0.1 more a step
    arrive(policy, strategy)
    lost = 0.5 * 2 * 100  # half of what the two skipped ones had more
    assert run(strategy, [6, 7, 8]) == [106 + lost / 2, 107 + lost / 2, 108]
    policy.release.release()
    strategy.close()


def test_what_did_not_run_at_all_is_not_made_up() -> None:
    policy, strategy = gated(blend=2)
    policy.offset = 0.1
    run(strategy, [0, 1, 2])
    arrive(policy, strategy)
    assert run(strategy, [3]) == [103], "the arm held: it is only later"
    strategy.close()


def test_async_hands_committed_actions_to_a_policy_that_inpaints() -> None:
    policy, strategy = gated(inpaints=True, blend=3)
    run(strategy, [0, 1])
    arrive(policy, strategy)
    run(strategy, [2, 3, 4])
    while len(policy.asked) < 2:
        time.sleep(0.001)
    assert "committed_actions" not in policy.asked[0]
    assert np.round(policy.asked[1]["committed_actions"][:, 0] * 1000).tolist() == [4, 5]
    policy.offset = 0.1
    arrive(policy, strategy)
    assert run(strategy, [5]) == [105], "its chunk continues the old one by itself and is not blended"
    strategy.close()


def test_async_goes_on_through_an_outage_and_raises_anything_else() -> None:
    policy = Ticking()
    strategy = AsyncChunks(policy, replan=2, blend=0)
    run(strategy, range(3), settle_s=0.1)
    policy.failing = ConnectionError("away")
    meant = run(strategy, range(3, 16), settle_s=0.1)
    assert meant[:3] == [3, 4, 5], "the running chunk is finished"
    assert meant[-1] is None
    assert strategy.counts.failures > 3
    policy.failing = None
    assert run(strategy, range(16, 22), settle_s=0.1)[-1] == 21
    policy.failing = ValueError("'prompt' is empty")
    with pytest.raises(ValueError, match="'prompt' is empty"):
        run(strategy, range(22, 40), settle_s=0.1)
    strategy.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: RecedingHorizon(p, replan=0), "replan is 0"),
        (lambda p: TemporalEnsemble(p, every=0), "replan is 0"),
        (lambda p: TemporalEnsemble(p, decay=-1), "decay is -1"),
        (lambda p: AsyncChunks(p, replan=4, late="finnish"), "unknown late 'finnish': did you mean 'finish'"),
        (lambda p: AsyncChunks(p, replan=4, blend=-1), "blend is -1"),
    ],
)
def test_settings_that_make_no_sense(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(Ticking())
