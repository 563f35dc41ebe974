"""LeRobot's protocol over real gRPC: the calls of a robot client in its order, refusals, limits, the end."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
import pytest
import torch
from lerobot.async_inference.helpers import RemotePolicyConfig, TimedObservation
from lerobot.transport import services_pb2, services_pb2_grpc
from lerobot.transport.utils import send_bytes_in_chunks

from vst_vla.policies.grpc_server import GrpcPolicyServer, GrpcSettings
from vst_vla.policies.server_limits import ServerLimits
from vst_vla.scripts.cli import main
from vst_vla.vla.contracts import IMAGE_KEY, LIBERO_STATE, STATE_KEY, TASK_KEY, WRIST_IMAGE_KEY

pytestmark = pytest.mark.alone

STATE = list(LIBERO_STATE.names)
SHORT = {"wait_s": 0.2}


@contextmanager
def serving(policy: object, **settings: object) -> Iterator[tuple[int, GrpcPolicyServer]]:
    server = GrpcPolicyServer(policy, settings=GrpcSettings(**{"port": 0, **settings}))
    ready: Future[int] = Future()
    stop = threading.Event()
    thread = threading.Thread(target=lambda: server.serve(stop=stop, on_ready=ready.set_result))
    thread.start()
    try:
        yield ready.result(timeout=30), server
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()


@dataclass
class Caller:
    """A robot client's four calls, with LeRobot's own messages."""

    port: int
    channel: grpc.Channel = field(init=False)

    def __post_init__(self) -> None:
        # Channels to one address share a connection unless they are told not to.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options)
        self.stub = services_pb2_grpc.AsyncInferenceStub(self.channel)

    def introduce(self, *, state: list[str] = STATE, cameras: tuple[str, ...] = ("image", "image2"), chunk: int = 50):
        self.stub.Ready(services_pb2.Empty(), timeout=20)
        features = {"observation.state": {"dtype": "float32", "shape": (len(state),), "names": state}}
        for name in cameras:
            features[f"observation.images.{name}"] = {"dtype": "image", "shape": (32, 32, 3), "names": ["h", "w", "c"]}
        setup = RemotePolicyConfig("act", "any", features, chunk, "cpu")
        self.stub.SendPolicyInstructions(services_pb2.PolicySetup(data=pickle.dumps(setup)), timeout=20)
        return self

    def send(self, number: float = 0.0, *, timestep: int = 0, must_go: bool = False, **changes: object) -> None:
        picture = np.full((32, 32, 3), 7, np.uint8)
        values = {**dict.fromkeys(STATE, 0.0), "x": number, "image": picture, "image2": picture, "task": "go"}
        values = {key: value for key, value in (values | changes).items() if value is not ...}
        timed = TimedObservation(timestamp=50.0, timestep=timestep, observation=values, must_go=must_go)
        self.send_bytes(pickle.dumps(timed))

    def send_bytes(self, data: bytes) -> None:
        self.stub.SendObservations(send_bytes_in_chunks(data, services_pb2.Observation), timeout=20)

    def actions(self) -> list:
        data = self.stub.GetActions(services_pb2.Empty(), timeout=20).data
        return pickle.loads(data) if data else []  # as LeRobot's client does

    def close(self) -> None:
        self.channel.close()


def refused(call: Callable, *arguments: object, **options: object) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value.code().name, caught.value.details()


def test_a_chunk_follows_on_what_was_executed(counting_policy) -> None:
    policy = counting_policy()
    with serving(policy, **SHORT) as (port, server):
        robot = Caller(port).introduce(chunk=5)
        robot.send(0.25, timestep=40)
        timed = robot.actions()
        assert [action.timestep for action in timed] == [41, 42, 43, 44, 45]
        assert timed[2].timestamp == pytest.approx(50.1)
        first = torch.stack([action.action for action in timed])[:, 0]
        assert first.tolist() == pytest.approx([0.25, 0.26, 0.27, 0.28, 0.29])
        seen = policy.batches[-1][0]
        assert seen[IMAGE_KEY].shape == seen[WRIST_IMAGE_KEY].shape == (32, 32, 3)
        assert (seen[TASK_KEY], seen[STATE_KEY].dtype) == ("go", np.float32)
        assert robot.actions() == [], "nothing new came"
        assert 'vst_vla_requests_total{result="ok"} 1' in server.metrics.render()
        robot.close()


def test_only_the_newest_and_nothing_twice(counting_policy) -> None:
    with serving(counting_policy(), **SHORT) as (port, _):
        robot = Caller(port).introduce()
        robot.send(0.1, timestep=3)
        robot.send(0.2, timestep=4)
        assert robot.actions()[0].action[0].item() == pytest.approx(0.2)
        robot.send(0.3, timestep=4)
        assert robot.actions() == [], "timestep 4 was answered"
        robot.send(0.4, timestep=4, must_go=True)
        robot.send(0.5, timestep=4)
        assert robot.actions()[0].action[0].item() == pytest.approx(0.4), "a robot that stands still is answered"
        robot.introduce()
        robot.send(0.6, timestep=0)
        assert len(robot.actions()) == 8, "a client that begins anew counts anew"
        robot.close()


def test_a_robots_past_pictures_go_by_its_timesteps(counting_policy) -> None:
    policy = counting_policy(history=(8,))
    with serving(policy, **SHORT) as (port, _):
        robot, found = Caller(port).introduce(), []
        for timestep in (3, 8, 11, 16):
            robot.send(timestep=timestep, image=np.full((32, 32, 3), timestep, np.uint8))
            robot.actions()
            found.append(int(policy.batches[-1][0][f"{IMAGE_KEY}.before8"][0, 0, 0]))
        assert found == [3, 3, 3, 8]
        robot.introduce()
        robot.send(timestep=20, image=np.full((32, 32, 3), 20, np.uint8))
        robot.actions()
        assert policy.batches[-1][0][f"{IMAGE_KEY}.before8"][0, 0, 0] == 20, "a client that begins anew"
        robot.close()


def test_an_observation_that_failed_may_be_asked_again(counting_policy) -> None:
    with serving(counting_policy(), **SHORT) as (port, _):
        robot = Caller(port).introduce()
        for task, reason in (("break", "the policy failed: RuntimeError: the weights are gone"), ("dream", "NaN")):
            robot.send(timestep=9, task=task)
            code, text = refused(robot.actions)
            assert code == "INTERNAL"
            assert reason in text
        robot.send(0.5, timestep=9)
        assert robot.actions()[0].timestep == 10
        robot.close()


def test_cameras_under_other_names(counting_policy) -> None:
    policy = counting_policy()
    with serving(policy, cameras={"image": "front", "image2": "wrist"}, **SHORT) as (port, _):
        robot = Caller(port).introduce(cameras=("wrist", "front"))
        front, wrist = np.zeros((20, 30, 3), np.uint8), np.ones((40, 50, 3), np.uint8)
        robot.send(front=front, wrist=wrist)
        assert len(robot.actions()) == 8
        seen = policy.batches[-1][0]
        assert (seen[IMAGE_KEY].shape, seen[WRIST_IMAGE_KEY].shape) == (front.shape, wrist.shape)
        code, text = refused(Caller(port).introduce, cameras=("top", "wrist"))
        assert code == "INVALID_ARGUMENT"
        assert "no camera 'front' for the policy's 'image'" in text
        robot.close()
    with pytest.raises(ValueError, match="names 'imagee', the policy's cameras are image, image2"):
        GrpcPolicyServer(policy, settings=GrpcSettings(cameras={"imagee": "front"}))


def test_robots_are_served_side_by_side(counting_policy) -> None:
    """Each gets the answer to its own observation, several in one pass."""
    policy = counting_policy(seconds=0.05)
    with serving(policy, **SHORT) as (port, _):
        robots = [Caller(port).introduce() for _ in range(6)]

        def episode(number: int) -> bool:
            for step in range(5):
                value = number / 10 + step / 1000
                robots[number].send(value, timestep=step, must_go=True)
                (first, *_) = robots[number].actions()
                if first.timestep != step + 1 or abs(first.action[0].item() - value) > 1e-6:
                    return False
            return True

        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(episode, range(6)))
        assert max(len(batch) for batch in policy.batches) > 1
        for robot in robots:
            robot.close()


class Evil:
    def __reduce__(self):
        return (exec, ("print('it ran')",))


def test_mistakes_are_named_and_the_server_lives_on(counting_policy, capfd: pytest.CaptureFixture[str]) -> None:
    limits = ServerLimits(max_message_mib=1)
    with serving(counting_policy(), limits=limits, **SHORT) as (port, server):
        robot = Caller(port).introduce()
        for changes, reason in (
            ({"x": ...}, "observation has no 'x': found y, z"),
            ({"image": ...}, "observation has no 'image'"),
            ({"x": "far"}, "'x' is str, expected a number"),
            ({"x": float("nan")}, "NaN or infinity"),
            ({"task": ""}, "is empty"),
            ({"image": np.zeros((32, 32), np.uint8)}, "expected uint8 (H, W, 3)"),
            ({"image": np.zeros((700, 700, 3), np.uint8)}, "more than 1 MiB"),
            ({"other": Evil()}, "names 'builtins.exec', expected RemotePolicyConfig, TimedObservation"),
        ):
            code, text = refused(robot.send, **changes)
            assert code == "INVALID_ARGUMENT"
            assert reason in text
        for data, reason in (
            (b"", "ends without its last piece"),
            (b"junk", "pickle"),
            (pickle.dumps({"a": 1}), "message is a dict, expected a TimedObservation"),
            (pickle.dumps(TimedObservation(1.0, "two", {})), "'timestep' is str, expected int"),
        ):
            assert reason in refused(robot.send_bytes, data)[1]
        assert (
            "expected a RemotePolicyConfig"
            in refused(robot.stub.SendPolicyInstructions, services_pb2.PolicySetup(data=pickle.dumps([])))[1]
        )
        assert (
            "the robot has 6 state numbers (a, b, c, d, e, f), the policy was trained on 8"
            in refused(Caller(port).introduce, state=list("abcdef"))[1]
        )
        assert "actions_per_chunk is 0" in refused(Caller(port).introduce, chunk=0)[1]
        robot.send(0.5)
        assert len(robot.actions()) == 8
        assert 'result="refused"' in server.metrics.render()
        robot.close()
    assert "it ran" not in capfd.readouterr().out


def test_who_comes_unannounced_or_too_often_is_turned_away(counting_policy) -> None:
    limits = ServerLimits(max_connections=2, max_rate=1, burst=3)
    with serving(counting_policy(), limits=limits, **SHORT) as (port, _):
        stranger = Caller(port)
        assert refused(stranger.actions) == (
            "FAILED_PRECONDITION",
            "the server does not know this robot: start its client again",
        )
        stranger.stub.Ready(services_pb2.Empty())
        assert "SendPolicyInstructions comes first" in refused(stranger.send)[1]
        robot = Caller(port).introduce()
        assert refused(Caller(port).introduce) == ("RESOURCE_EXHAUSTED", "2 robots are connected: try later")
        for step in range(3):
            robot.send(timestep=step)
        assert refused(robot.send) == ("RESOURCE_EXHAUSTED", "more than 1 observations a second: slow down")
        assert len(robot.actions()) == 8


def test_it_ends_in_time_and_after_what_runs(counting_policy) -> None:
    with ThreadPoolExecutor(2) as pool, serving(counting_policy(seconds=0.5), wait_s=15, grace_s=1.5) as (port, _):
        asking, idle = Caller(port).introduce(), Caller(port).introduce()
        asking.send()
        waiting, held = pool.submit(asking.actions), pool.submit(refused, idle.actions)
        time.sleep(0.2)
        start = time.monotonic()
    assert time.monotonic() - start < 10, "a call that waits for an observation does not hold the server up"
    assert len(waiting.result()) == 8
    assert held.result()[0] in {"CANCELLED", "UNAVAILABLE"}


def test_serve_takes_the_protocol(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_zero_port() as port:
        for arguments, expected in (
            (["protocol=lerobott"], "unknown protocol 'lerobott': did you mean 'lerobot'?"),
            (["protocol=lerobot", f"port={port}"], f"port {port} on 127.0.0.1 cannot be opened"),
            (["protocol=lerobot", "lerobot.fps=0"], "lerobot.fps is 0, expected more than 0"),
            (["protocol=lerobot", "lerobot.cameras={front: image}"], "lerobot.cameras names 'front'"),
            (["protocol=lerobot", "ensemble.decay=0.01"], "ensemble.decay is for protocol=openpi"),
        ):
            assert main(["serve", "policy=zero", *arguments]) == 2
            captured = capsys.readouterr()
            assert expected in captured.err
            assert len(captured.err.strip().splitlines()) == 1
        monkeypatch.setenv("VST_VLA_API_KEY", "geheim")
        assert main(["serve", "policy=zero", "protocol=lerobot"]) == 2
        assert "LeRobot's clients cannot send a key: unset VST_VLA_API_KEY" in capsys.readouterr().err


@contextmanager
def serving_zero_port() -> Iterator[int]:
    from vst_vla.policies.baselines import ZeroPolicy

    with serving(ZeroPolicy(chunk=2)) as (port, _):
        yield port
