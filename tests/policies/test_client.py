"""The client over real sockets: what it needs, refusals, late replies, a server that dies and comes back."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from vst_vla.policies.client import PolicyClient, PolicyRefused, PolicyUnavailable
from vst_vla.policies.relay import DelayRelay
from vst_vla.policies.server import ServerSettings
from vst_vla.vla.contracts import LIBERO_ACTION, LIBERO_STATE, Policy

pytestmark = pytest.mark.alone


def test_it_needs_neither_torch_nor_the_simulator() -> None:
    """On a robot's computer there is numpy, msgpack and websockets; everything else is made impossible to import."""
    code = """
import sys
allowed = {"numpy", "msgpack", "websockets", "vst_vla", "_cython_3_2_1"} | set(sys.stdlib_module_names)
class Barrier:
    def find_spec(self, name, path=None, target=None):
        if path is None and not name.startswith("_") and name.split(".")[0] not in allowed:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Barrier())
import vst_vla.policies.client, vst_vla.policies.chunking, vst_vla.policies.safety
import vst_vla.policies.control, vst_vla.policies.robot, vst_vla.policies.relay
assert not {"torch", "mujoco", "hydra", "transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_it_is_a_policy_with_the_servers_conventions(counting_policy, serving, request_of) -> None:
    with serving(counting_policy()) as running, PolicyClient(f"127.0.0.1:{running.port}") as client:
        assert isinstance(client, Policy)
        assert (client.action_spec, client.state_spec, client.chunk) == (LIBERO_ACTION, LIBERO_STATE, 8)
        assert client.infer(request_of(5))["actions"][0, 0] == pytest.approx(0.005)
        both = client.infer_batch([request_of(1), request_of(2)])
        assert [reply["actions"][0, 0] for reply in both] == [pytest.approx(0.001), pytest.approx(0.002)]


def test_reset_goes_with_the_next_observation(counting_policy, serving, request_of) -> None:
    settings = {"ensemble_decay": 0.0, "ensemble_every": 1}
    with serving(counting_policy(), **settings) as running, PolicyClient(running.uri) as client:
        client.infer(request_of(0))
        assert client.infer(request_of(100))["actions"][0, 0] == pytest.approx((0.01 + 0.1) / 2)
        client.reset()
        assert client.infer(request_of(200))["actions"][0, 0] == pytest.approx(0.2)


def test_refusals_say_why_and_the_next_request_is_answered(counting_policy, serving, request_of) -> None:
    with serving(counting_policy(), api_key="key") as running:
        with (
            PolicyClient(running.uri, api_key="kee") as stranger,
            pytest.raises(PolicyRefused, match=r"refused the connection \(401\): wrong or missing API key"),
        ):
            stranger.infer(request_of())
        with PolicyClient(running.uri, api_key="key") as client:
            with pytest.raises(PolicyRefused, match="'prompt' is empty"):
                client.infer(request_of(prompt=""))
            assert client.infer(request_of())["actions"].shape == (8, 7)


def test_a_late_reply_is_never_the_answer_to_the_next_request(counting_policy, serving, request_of) -> None:
    policy = counting_policy(seconds=0.0)
    with serving(policy) as running, PolicyClient(running.uri, timeout_s=0.3, retry_s=0.0) as client:
        client.infer(request_of(1))
        policy.seconds = 2.0
        start = time.monotonic()
        with pytest.raises(PolicyUnavailable, match="no reply"):
            client.infer(request_of(2))
        assert time.monotonic() - start < 1.8
        policy.seconds = 0.0
        time.sleep(2.0)
        assert client.infer(request_of(3))["actions"][0, 0] == pytest.approx(0.003)


def test_no_server_fails_at_once_and_does_not_hammer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = PolicyClient(f"ws://127.0.0.1:{port}", retry_s=10)
    with pytest.raises(PolicyUnavailable, match="no server at"):
        client.infer({})
    start = time.monotonic()
    with pytest.raises(PolicyUnavailable, match="tried a moment ago"):
        client.infer({})
    assert time.monotonic() - start < 1
    with pytest.raises(PolicyUnavailable):
        client.wait_until_ready(timeout_s=0.3)


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = PolicyClient(f"ws://127.0.0.1:{silent.getsockname()[1]}", connect_timeout_s=0.3)
        start = time.monotonic()
        with pytest.raises(PolicyUnavailable, match="no server at"):
            client.infer({})
        assert time.monotonic() - start < 2


def test_it_comes_back_when_the_server_does(counting_policy, serving, request_of) -> None:
    with serving(counting_policy()) as running:
        port = running.port
        client = PolicyClient(f"ws://127.0.0.1:{port}", retry_s=0.05)
        client.infer(request_of())
    with pytest.raises(PolicyUnavailable):
        client.infer(request_of())
    with serving(counting_policy(), port=port):
        client.wait_until_ready(timeout_s=5)
        assert client.infer(request_of(9))["actions"][0, 0] == pytest.approx(0.009)
        client.close()


def test_a_dropped_connection_is_opened_again(counting_policy, serving, request_of) -> None:
    with serving(counting_policy()) as running:
        relay = DelayRelay("127.0.0.1", running.port, latency_s=0.1, jitter_s=0.02)
        with PolicyClient(f"ws://127.0.0.1:{relay.port}", retry_s=0.0, connect_timeout_s=5) as client:
            client.infer(request_of())
            times = []
            for number in range(10):
                start = time.monotonic()
                client.infer(request_of(number))
                times.append(time.monotonic() - start)
            assert np.mean(times) > 0.08
            threading.Timer(0.02, relay.drop).start()
            with pytest.raises(PolicyUnavailable):
                client.infer(request_of())
            assert client.infer(request_of(4))["actions"][0, 0] == pytest.approx(0.004)
        relay.close()


def test_a_stuck_server_does_not_block_sending(request_of) -> None:
    """A server that shook hands and then stopped reading: the kernel's buffers fill up, and sending gives up."""
    from websockets.sync.server import serve

    from vst_vla.policies.wire import pack

    stuck = threading.Event()

    def handler(connection) -> None:
        connection.send(pack({}))
        stuck.wait(20)

    with serve(handler, "127.0.0.1", 0, compression=None, max_queue=1) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = PolicyClient(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", timeout_s=0.5)
        start = time.monotonic()
        for _ in range(3):
            with pytest.raises(PolicyUnavailable):
                client.infer({"big": np.zeros(40_000_000, np.uint8)})
        assert time.monotonic() - start < 8
        stuck.set()
        server.shutdown()


@pytest.mark.parametrize("uri", ["http://robot:80", "ws://", ""])
def test_addresses_that_are_none(uri: str) -> None:
    with pytest.raises(ValueError, match="is no address of a policy server: give ws://HOST:PORT"):
        PolicyClient(uri)


def test_times_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="timeout_s is 0"):
        PolicyClient("robot", timeout_s=0)
    with pytest.raises(ValueError, match="latency is -1"):
        DelayRelay("127.0.0.1", 1, latency_s=-1)


def test_the_default_port() -> None:
    assert PolicyClient("gpu-machine").uri == f"ws://gpu-machine:{ServerSettings().port}"
    assert PolicyClient("wss://gpu-machine/policy").uri == "wss://gpu-machine/policy"
