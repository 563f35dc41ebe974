"""Policies behind a server, evaluated: what is sent, what is refused, and servers that die and come back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import Server, ServerConnection, serve

from vst_vla.envs.record import EpisodeRecord
from vst_vla.envs.rollout import rollout
from vst_vla.envs.rollout_settings import RolloutSettings
from vst_vla.policies.baselines import RandomPolicy
from vst_vla.policies.catalogue import Request, make_policy
from vst_vla.policies.client import PolicyUnavailable
from vst_vla.policies.server_policy import ServerPolicy
from vst_vla.policies.wire import pack, unpack
from vst_vla.vla.contracts import IMAGE_KEYS, LIBERO_ACTION, MOMENT_KEY, STATE_KEY, TASK_KEY, Moment, Observation

SETTINGS = RolloutSettings(
    suite="libero_object", task_ids=(0,), init_states=(0, 1), image_size=64, execute=4, max_steps=12, video="off"
)


class Openpi:
    """A server that speaks openpi's protocol and says nothing of itself; random actions, kept requests."""

    def __init__(self, *, port: int = 0, scale: float = 1.0) -> None:
        self.requests: list[dict[str, Any]] = []
        self._policy, self._scale = RandomPolicy(chunk=6), scale
        self._server: Server = serve(self._talk, "127.0.0.1", port, compression=None, max_size=None)
        self.port = self._server.socket.getsockname()[1]
        self.dies_at = -1
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _talk(self, connection: ServerConnection) -> None:
        connection.send(pack({}))
        for data in connection:
            request = unpack(bytes(data))  # type: ignore[arg-type]
            self.requests.append(request)
            if len(self.requests) == self.dies_at:
                connection.socket.shutdown(socket.SHUT_RDWR)
                return
            actions = self._policy.infer({STATE_KEY: request["observation/state"]})["actions"]
            connection.send(pack({"actions": actions * self._scale}))

    def close(self) -> None:
        self._server.shutdown()


@contextmanager
def openpi(**options: Any) -> Iterator[Openpi]:
    server = Openpi(**options)
    try:
        yield server
    finally:
        server.close()


def observation(*, step: int = 0, slot: int = 0) -> Observation:
    pictures = {key: np.full((64, 64, 3), i, np.uint8) for i, key in enumerate(IMAGE_KEYS)}
    moment = Moment(slot=slot, task_id=0, init_state=0, step=step)
    return {**pictures, STATE_KEY: np.full(8, 0.5, np.float32), TASK_KEY: "pick it up", MOMENT_KEY: moment}


def policy_at(port: int, **options: Any) -> ServerPolicy:
    return ServerPolicy(f"ws://127.0.0.1:{port}", **{"replan": 4, "reconnect_s": 20.0, "timeout_s": 20.0, **options})


def timeless(records: list[EpisodeRecord]) -> list[EpisodeRecord]:
    return [replace(record, wall_s=0.0) for record in records]


def test_a_foreign_server_gets_what_openpis_client_sends() -> None:
    with openpi() as server:
        actions = policy_at(server.port).infer(observation())["actions"]
    (request,) = server.requests
    assert set(request) >= {"observation/image", "observation/wrist_image", "observation/state", "prompt"}
    assert MOMENT_KEY not in request
    assert request["observation/image"].shape == request["observation/wrist_image"].shape == (224, 224, 3)
    assert request["observation/wrist_image"].max() == 1
    assert request["prompt"] == "pick it up"
    assert actions.shape == (6, 7)


def test_actions_out_of_range_are_clipped_as_liberos_controller_does() -> None:
    with openpi(scale=3.0) as server:
        actions = policy_at(server.port).infer(observation())["actions"]
    assert np.abs(actions).max() == 1.0


def test_every_episode_has_its_connection_and_batches_go_out_at_once() -> None:
    with openpi() as server:
        policy = policy_at(server.port)
        replies = policy.infer_batch([observation(slot=0), observation(slot=1)])
        assert len(replies) == 2
        assert len(policy._clients) == 2


def test_our_server_gets_the_pictures_as_they_are(serving: Any, counting_policy: Any) -> None:
    served = counting_policy()
    with serving(served) as running:
        policy = ServerPolicy(running.uri)
        assert (policy.chunk, policy.checkpoint) == (8, "0123456789ab")
        assert policy.action_spec == LIBERO_ACTION
        policy.infer(observation())
    assert served.batches[-1][0][IMAGE_KEYS[0]].shape == (64, 64, 3)


def test_other_conventions_of_a_server_are_refused_before_anything_runs(serving: Any, counting_policy: Any) -> None:
    spec = replace(LIBERO_ACTION, gripper="0 open, 1 close")
    with (
        serving(counting_policy(action_spec=spec)) as running,
        pytest.raises(ValueError, match="gripper differs: the policy has '0 open, 1 close'"),
    ):
        rollout(ServerPolicy(running.uri), settings=SETTINGS, progress=False)


def test_what_is_missing_is_told() -> None:
    with openpi() as server, pytest.raises(ValueError, match=r"give policy.replan=N"):
        ServerPolicy(f"ws://127.0.0.1:{server.port}")
    with pytest.raises(ValueError, match="give address=ws://HOST:PORT"):
        make_policy(Request(options={"name": "server"}))
    with pytest.raises(TimeoutError, match=r"no server at ws://127.0.0.1:\d+.* for 0.3 s: start it"):
        policy_at(server.port, reconnect_s=0.3)


def test_a_server_lost_in_an_episode_is_a_connection_error_and_waited_for_at_the_next() -> None:
    with openpi() as server:
        policy = policy_at(server.port)
        policy.infer(observation())
        port = server.port
    server.dies_at = len(server.requests) + 1
    with pytest.raises(PolicyUnavailable):
        policy.infer(observation(step=4))
    back: list[Openpi] = []

    def come_back() -> None:
        time.sleep(0.5)
        back.append(Openpi(port=port))

    thread = threading.Thread(target=come_back)
    thread.start()
    assert policy.infer(observation(step=0))["actions"].shape == (6, 7)
    thread.join()
    back[0].close()


@pytest.mark.sim
def test_an_episode_whose_server_died_is_repeated() -> None:
    with openpi() as server:
        quiet = timeless(rollout(policy_at(server.port), settings=SETTINGS, progress=False))
        before = len(server.requests)
        server.dies_at = before + 2
        again = timeless(rollout(policy_at(server.port), settings=SETTINGS, progress=False))
    assert len(server.requests) > 2 * before
    assert again == quiet
    assert [record.error for record in quiet] == ["", ""]
