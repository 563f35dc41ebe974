"""Servers of a policy with image history: each connection's own pictures, by the steps that its client says."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from vst_vla.policies.chunking import AsyncChunks, RecedingHorizon
from vst_vla.policies.client import PolicyClient, PolicyRefused
from vst_vla.policies.server_policy import ServerPolicy
from vst_vla.vla.contracts import IMAGE_KEY, IMAGE_KEYS, MOMENT_KEY, STATE_KEY, TASK_KEY, Moment, Observation

pytestmark = pytest.mark.alone

PAST = f"{IMAGE_KEY}.before8"


@pytest.fixture
def policy(counting_policy):
    return counting_policy(history=(8,))


def shown(value: int) -> Observation:
    pictures = {key: np.full((32, 32, 3), value, np.uint8) for key in IMAGE_KEYS}
    return {**pictures, STATE_KEY: np.zeros(8, np.float32), TASK_KEY: "go"}


def past(policy) -> int:
    """The value of the past picture that the policy was asked with last."""
    return int(policy.batches[-1][0][PAST][0, 0, 0])


def test_a_connections_own_pictures_by_the_steps_it_says(policy, serving) -> None:
    with serving(policy) as running, PolicyClient(running.uri) as one, PolicyClient(running.uri) as other:
        assert one.metadata["history"] == [8]
        found = []
        for step in (0, 4, 8, 12, 20):
            one.infer(shown(step) | {"step": step})
            found.append(past(policy))
            other.infer(shown(100 + step) | {"step": step})
        assert found == [0, 0, 0, 4, 12]
        assert past(policy) == 112
        one.reset()
        one.infer(shown(50) | {"step": 21})
        assert past(policy) == 50, "a new episode"
        one.infer(shown(51) | {"step": 2})
        assert past(policy) == 51, "its count began anew"


def test_steps_that_are_not_said_are_counted(policy, serving, caplog) -> None:
    caplog.set_level(logging.WARNING)
    with serving(policy, ensemble_every=4) as running, PolicyClient(running.uri) as client:
        found = []
        for number in range(4):
            client.infer(shown(number))
            found.append(past(policy))
        assert found == [0, 0, 0, 1]
    assert caplog.text.count("sends no 'step': its requests are taken for 4 control steps apart") == 1


def test_past_pictures_may_be_sent(policy, serving) -> None:
    with serving(policy) as running, PolicyClient(running.uri) as client:
        client.infer(shown(1))
        client.infer(shown(2) | {f"{key}.before8": np.full((32, 32, 3), 77, np.uint8) for key in IMAGE_KEYS})
        assert past(policy) == 77
        with pytest.raises(PolicyRefused, match=r"'observation.images.image.before8' is uint8 \(3, 3\)"):
            client.infer(shown(2) | {PAST: np.zeros((3, 3), np.uint8)})


def test_a_policy_without_history_gets_none(counting_policy, serving, caplog) -> None:
    policy = counting_policy()
    with serving(policy) as running, PolicyClient(running.uri) as client:
        client.infer(shown(1))
        assert PAST not in policy.batches[-1][0]
    assert "sends no 'step'" not in caplog.text


def test_the_evaluator_tells_our_server_its_steps(policy, serving) -> None:
    with serving(policy) as running:
        evaluated = ServerPolicy(running.uri)
        for step in (0, 8, 16):
            moment = Moment(slot=0, task_id=0, init_state=0, step=step)
            evaluated.infer(shown(step) | {MOMENT_KEY: moment})
        assert past(policy) == 8


def test_a_control_loop_tells_the_server_its_steps(policy, serving) -> None:
    with serving(policy) as running, PolicyClient(running.uri, timeout_s=20) as client:
        strategy = RecedingHorizon(client, replan=8)
        for tick in range(100, 120):
            strategy.act(lambda tick=tick: shown(tick), tick=tick)
        assert past(policy) == 108
        background = AsyncChunks(client, replan=8)
        background.reset()
        background.act(lambda: shown(7), tick=200)
        assert background._pending is not None
        background._pending[1].result(timeout=20)
        background.close()
        assert past(policy) == 7, "a new episode"
