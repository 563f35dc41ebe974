"""The server over real sockets: openpi's protocol, its refusals, its limits, its pages, its end."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from vst_vla.policies.server import ServerSettings
from vst_vla.policies.server_limits import ServerLimits, TokenBucket, authorised
from vst_vla.policies.wire import pack, unpack
from vst_vla.vla.contracts import IMAGE_KEY, STATE_KEY, TASK_KEY, WRIST_IMAGE_KEY

pytestmark = pytest.mark.alone


def join(running, **options) -> tuple[ClientConnection, dict]:
    connection = connect(running.uri, compression=None, max_size=None, proxy=None, **options)
    return connection, unpack(connection.recv(timeout=10))


def ask(connection: ClientConnection, message: dict) -> dict:
    connection.send(pack(message))
    reply = connection.recv(timeout=30)
    assert isinstance(reply, bytes), reply
    return unpack(reply)


def refusal(connection: ClientConnection, data: str | bytes) -> tuple[str, int]:
    """The text frame that answers, and the code that the connection is closed with."""
    connection.send(data)
    text = connection.recv(timeout=30)
    assert isinstance(text, str)
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=30)
    return text, closed.value.rcvd.code


def page(running, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{running.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metadata_first_then_one_reply_a_request(counting_policy, serving, request_of) -> None:
    with serving(counting_policy()) as running:
        connection, metadata = join(running)
        assert metadata["action_horizon"] == 8
        assert metadata["action_spec"]["names"] == ["dx", "dy", "dz", "drx", "dry", "drz", "gripper"]
        assert metadata["image_keys"] == ["observation/image", "observation/wrist_image"]
        assert (metadata["checkpoint"], metadata["inpaints"]) == ("0123456789ab", False)
        first = ask(connection, request_of(3))
        assert (first["actions"].shape, first["actions"].dtype) == ((8, 7), np.float32)
        assert first["actions"][2, 0] == pytest.approx(0.003 + 0.02)
        assert first["policy_timing"]["infer_ms"] >= 0
        assert "prev_total_ms" not in first["server_timing"]
        second = ask(connection, request_of(4, step=12))
        assert second["server_timing"]["prev_total_ms"] > 0
        assert second["step"] == 12
        assert not [key for key, value in second.items() if isinstance(value, np.ndarray) and key != "actions"]


def test_what_the_policy_sees(counting_policy, serving, request_of) -> None:
    policy = counting_policy()
    with serving(policy) as running:
        connection, _ = join(running)
        given = request_of(1, size=48)
        ask(connection, given)
        seen = policy.batches[-1][0]
        assert set(seen) == {IMAGE_KEY, WRIST_IMAGE_KEY, STATE_KEY, TASK_KEY}
        assert np.array_equal(seen[IMAGE_KEY], given["observation/image"])
        ask(
            connection,
            {
                IMAGE_KEY: np.moveaxis(given["observation/image"], 2, 0),
                WRIST_IMAGE_KEY: given["observation/wrist_image"] / np.float32(255),
                STATE_KEY: [float(value) for value in given["observation/state"]],
                TASK_KEY: given["prompt"],
                "something/else": {"is": "left alone"},
            },
        )
        again = policy.batches[-1][0]
        assert all(np.array_equal(again[key], seen[key]) for key in seen)
        assert again[STATE_KEY].dtype == np.float32


BAD = [
    ({"prompt": ...}, "observation has no 'prompt' (or 'task'): found observation/image"),
    ({"observation/image": ...}, "observation has no 'observation/image'"),
    ({"observation/state": ...}, "observation has no 'observation/state'"),
    ({"prompt": " \n"}, "'prompt' is empty: say in words"),
    ({"prompt": 5}, "'prompt' is int 5, expected text"),
    ({"prompt": "x" * 3000}, "'prompt' has 3000 characters"),
    ({"observation/state": np.zeros(7, np.float32)}, "has 7 numbers, expected 8: x, y, z"),
    ({"observation/state": np.full(8, np.nan)}, "'observation/state' holds a NaN"),
    ({"observation/state": np.full(8, 1e300)}, "'observation/state' holds a NaN or infinity"),
    ({"observation/state": ["a"] * 8}, "expected a vector of numbers"),
    ({"observation/state": [[1], [2, 3]]}, "expected a vector of numbers"),
    ({"observation/image": np.zeros((224, 224), np.uint8)}, "is uint8 (224, 224), expected uint8 (H, W, 3)"),
    ({"observation/image": np.zeros((224, 224, 4), np.uint8)}, "expected uint8 (H, W, 3)"),
    ({"observation/image": np.zeros((224, 224, 3), np.int32)}, "is int32 (224, 224, 3), expected uint8"),
    ({"observation/image": np.zeros((8, 8, 3), np.uint8)}, "expected 16 to 4096 pixels a side"),
    ({"observation/image": np.full((32, 32, 3), 200.0, np.float32)}, "floats from 200 to 200, expected [0, 1]"),
    ({"observation/image": np.full((32, 32, 3), np.nan, np.float32)}, "expected [0, 1]"),
    ({"observation/wrist_image": "a picture"}, "'observation/wrist_image' is str a picture"),
    ({"step": -1}, "'step' is -1, expected a whole number"),
    ({"reset": "yes"}, "'reset' is yes, expected true or false"),
    ({"committed_actions": np.zeros((2, 7))}, "leave out 'committed_actions'"),
]


def test_every_mistake_is_one_line_and_the_server_stays(counting_policy, serving, request_of) -> None:
    with serving(counting_policy()) as running:
        for change, expected in BAD:
            connection, _ = join(running)
            text, code = refusal(connection, pack(request_of(**change)))
            assert expected in text
            assert len(text.splitlines()) == 1
            assert code == 1011
        connection, _ = join(running)
        assert "expected a binary frame" in refusal(connection, "hello")[0]
        connection, _ = join(running)
        assert "cannot be read" in refusal(connection, b"\xc1")[0]
        connection, _ = join(running)
        assert ask(connection, request_of())["actions"].shape == (8, 7)
        assert f'vst_vla_requests_total{{result="refused"}} {len(BAD) + 2}' in page(running, "/metrics")[1]


def test_a_policy_that_fails_fails_alone(counting_policy, serving, request_of) -> None:
    """One bad observation does not spoil its batch, and neither an exception nor a NaN reaches an arm as actions."""
    with serving(counting_policy(seconds=0.2)) as running, ThreadPoolExecutor(6) as pool:
        connections = [join(running)[0] for _ in range(6)]
        prompts = ["pick", "break", "pick", "dream", "pick", "pick"]
        for connection, prompt in zip(connections, prompts, strict=True):
            connection.send(pack(request_of(prompt=prompt)))
        replies = list(pool.map(lambda c: c.recv(timeout=30), connections))
        assert [isinstance(reply, bytes) for reply in replies] == [p == "pick" for p in prompts]
        assert "the policy failed: RuntimeError: the weights are gone" in replies[1]
        assert "NaN or infinity in 'dy'" in replies[3]
        assert 'result="failed"} 2' in page(running, "/metrics")[1]


def test_waiting_clients_share_a_pass(counting_policy, serving, request_of) -> None:
    policy = counting_policy(seconds=0.25)
    with serving(policy) as running, ThreadPoolExecutor(12) as pool:
        connections = [join(running)[0] for _ in range(12)]
        start, before = time.monotonic(), len(policy.batches)
        replies = list(pool.map(lambda i: ask(connections[i], request_of(i, size=32)), range(12)))
        assert time.monotonic() - start < 12 * 0.25
        sizes = [len(batch) for batch in policy.batches[before:]]
        assert sum(sizes) == 12
        assert max(sizes) > 1
        for i, reply in enumerate(replies):
            assert reply["actions"][0, 0] == pytest.approx(i / 1000)


def test_pings_are_answered_while_the_policy_thinks(counting_policy, serving, request_of) -> None:
    with serving(counting_policy(seconds=1.5)) as running:
        connection, _ = join(running, ping_interval=0.2, ping_timeout=0.4)
        assert ask(connection, request_of())["policy_timing"]["infer_ms"] > 1400


def test_health_metrics_and_key(counting_policy, serving, request_of) -> None:
    with serving(counting_policy(), api_key="geheim") as running:
        assert page(running, "/healthz") == (200, "OK\n")
        assert page(running, "/metrics")[0] == 401
        for headers in ({}, {"Authorization": "Api-Key falsch"}, {"Authorization": "geheim"}):
            with pytest.raises(InvalidStatus) as refused:
                join(running, additional_headers=headers)
            assert refused.value.response.status_code == 401
            assert b"wrong or missing API key" in refused.value.response.body
        connection, _ = join(running, additional_headers={"Authorization": "Api-Key geheim"})
        ask(connection, request_of())
        text, counted, deadline = "", 'vst_vla_requests_total{result="ok"} 1', time.monotonic() + 10
        while counted not in text and time.monotonic() < deadline:  # an answer is counted once it was sent
            status, text = page(running, "/metrics", Authorization="Api-Key geheim")
            assert status == 200
        assert counted in text
        assert "vst_vla_connections 1" in text
        assert 'vst_vla_turned_away_total{reason="key"} 4' in text
        assert 'vst_vla_request_seconds_bucket{le="+Inf"} 1' in text


def test_a_browser_cannot_connect(counting_policy, serving) -> None:
    with serving(counting_policy()) as running, pytest.raises(InvalidStatus) as refused:
        join(running, origin="http://evil.example")
    assert refused.value.response.status_code == 403


def test_limits_on_size_rate_and_connections(counting_policy, serving, request_of) -> None:
    limits = ServerLimits(max_message_mib=0.5, max_rate=2, burst=3, max_connections=2)
    with serving(counting_policy(), limits=limits) as running:
        connection, _ = join(running)
        connection.send(pack({"a": np.zeros(600 * 2**10, np.uint8)}))
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=10)
        assert (closed.value.rcvd.code, "limit" in closed.value.rcvd.reason) == (1009, True)
        connection, _ = join(running)
        for _ in range(3):
            ask(connection, request_of(size=32))
        text, code = refusal(connection, pack(request_of(size=32)))
        assert (text, code) == ("more than 2 requests a second: slow down", 1008)
        kept = [join(running) for _ in range(2)]
        with pytest.raises(InvalidStatus) as refused:
            join(running)
        assert refused.value.response.status_code == 503
        kept[0][0].close()
        deadline = time.monotonic() + 5
        while running.server.metrics.connections > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ask(join(running)[0], request_of(size=32))["actions"].shape == (8, 7)


def test_a_request_before_the_reply_to_the_last_is_refused(counting_policy, serving, request_of) -> None:
    with serving(counting_policy(seconds=0.3)) as running:
        connection, _ = join(running)
        connection.send(pack(request_of(size=32)))
        text, code = refusal(connection, pack(request_of(size=32)))
        assert (text, code) == ("a request came before the reply to the last one: wait for it", 1008)
        other, _ = join(running)
        assert ask(other, request_of(size=32))["actions"].shape == (8, 7)


def test_a_fragmented_message_is_one_request(counting_policy, serving, request_of) -> None:
    with serving(counting_policy()) as running:
        connection, _ = join(running)
        data = pack(request_of(6))
        connection.send([data[:1000], data[1000:200_000], data[200_000:]])
        assert unpack(connection.recv(timeout=10))["actions"][0, 0] == pytest.approx(0.006)


def test_a_reset_alone_is_confirmed(counting_policy, serving) -> None:
    with serving(counting_policy()) as running:
        connection, _ = join(running)
        assert ask(connection, {"reset": True}) == {"reset": True}


def test_ensembling_averages_a_clients_own_chunks(counting_policy, serving, request_of) -> None:
    with serving(counting_policy(), ensemble_decay=0.0, ensemble_every=4) as running:
        connection, _ = join(running)
        first = ask(connection, request_of(0))["actions"]
        second = ask(connection, request_of(100))["actions"]
        assert second[0, 0] == pytest.approx((0.04 + 0.1) / 2)  # old step 4, new step 0
        assert second[4, 0] == pytest.approx(0.1 + 0.04)  # past the old chunk's end
        other, _ = join(running)
        assert np.allclose(ask(other, request_of(0))["actions"], first)
        assert ask(connection, request_of(200, reset=True))["actions"][0, 0] == pytest.approx(0.2)
        assert ask(connection, request_of(300, step=2))["actions"][0, 0] == pytest.approx((0.22 + 0.3) / 2)


def test_a_policy_that_inpaints_gets_the_committed_actions(counting_policy, serving, request_of) -> None:
    policy = counting_policy(inpaints=True)
    with serving(policy) as running:
        connection, metadata = join(running)
        assert metadata["inpaints"] is True
        ask(connection, request_of(committed_actions=np.full((3, 7), 0.5)))
        assert policy.batches[-1][0]["committed_actions"].shape == (3, 7)
        assert "action has shape (3, 6)" in refusal(connection, pack(request_of(committed_actions=np.zeros((3, 6)))))[0]


def test_a_running_request_ends_before_the_server_does(counting_policy, serving, request_of) -> None:
    with serving(counting_policy(seconds=0.5)) as running:
        connection, _ = join(running)
        idle, _ = join(running)
        connection.send(pack(request_of()))
        time.sleep(0.1)
        running.stop()
        assert isinstance(connection.recv(timeout=10), bytes)
        for each in (connection, idle):
            with pytest.raises(ConnectionClosed) as closed:
                each.recv(timeout=10)
            assert closed.value.rcvd.code == 1001


def test_the_port_opens_only_after_a_good_first_answer(counting_policy, serving) -> None:
    class Broken(counting_policy):
        def infer_batch(self, observations):
            raise RuntimeError("CUDA is out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), serving(Broken()):
        pass


def test_a_port_in_use_is_named(counting_policy, serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ValueError, match=f"port {port} on 127.0.0.1 cannot be opened .*in use.*: choose another"),
            serving(counting_policy(), port=port),
        ):
            pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ServerSettings(api_key=" "), "API key is empty"),
        (lambda: ServerSettings(port=70000), "port is 70000"),
        (lambda: ServerSettings(ensemble_every=0), "ensemble_every is 0"),
        (lambda: ServerLimits(max_rate=0), "max_rate is 0"),
        (lambda: ServerLimits(max_batch=0), "max_batch is 0"),
    ],
)
def test_settings_that_make_no_sense(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_token_bucket() -> None:
    bucket = TokenBucket(rate=10, burst=2, now=0.0)
    assert [bucket.take(now=t) for t in (0.0, 0.0, 0.0, 0.05, 0.11, 0.11)] == [True, True, False, False, True, False]
    assert [bucket.take(now=100.0) for _ in range(3)] == [True, True, False]


def test_keys_are_compared_whole() -> None:
    assert authorised("Api-Key abc", key="abc")
    assert not authorised("Api-Key abcd", key="abc")
    assert not authorised("Api-Key ab", key="abc")
    assert not authorised(None, key="abc")
    assert authorised(None, key=None)


def test_a_client_that_leaves_in_mid_request_harms_nobody(counting_policy, serving, request_of, caplog) -> None:
    with serving(counting_policy(seconds=0.2)) as running:
        for _ in range(5):
            connection, _ = join(running)
            connection.send(pack(request_of(size=32)))
            connection.socket.shutdown(socket.SHUT_RDWR)
        connection, _ = join(running)
        assert ask(connection, request_of())["actions"].shape == (8, 7)
    assert not [t for t in threading.enumerate() if t.name == "inference"]
    assert "Traceback" not in caplog.text


def test_string_keyed_arrays_are_taken(counting_policy, serving, request_of) -> None:
    def stringly(value: object) -> object:
        if isinstance(value, np.ndarray):
            content = {"data": value.tobytes(), "dtype": value.dtype.str, "shape": list(value.shape)}
            return {"__ndarray__": True, **content}
        return value

    with serving(counting_policy()) as running:
        connection, _ = join(running)
        connection.send(msgpack.packb({key: stringly(value) for key, value in request_of(7).items()}))
        assert unpack(connection.recv(timeout=10))["actions"][0, 0] == pytest.approx(0.007)
