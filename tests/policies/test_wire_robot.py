"""LIBERO as an arm in another process: its clock and holds; a control loop through lost servers and slow networks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.policies.baselines import ZeroPolicy
from vst_vla.policies.chunking import AsyncChunks, RecedingHorizon
from vst_vla.policies.client import PolicyClient
from vst_vla.policies.control import choose, run_episode
from vst_vla.policies.relay import DelayRelay
from vst_vla.policies.robot import WireRobotClient
from vst_vla.policies.safety import SafetyFilter, SafetyLimits
from vst_vla.policies.wire_robot import WireRobot
from vst_vla.scripts import drive
from vst_vla.vla.contracts import STATE_KEY

pytestmark = [pytest.mark.sim, pytest.mark.alone]
SPEED = 0.5
"""Half of 20 Hz: what is tested are proportions, and a busy machine must be able to keep the clock."""
HOLD = SafetyLimits(watchdog_s=5.0)


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)


def end(started: subprocess.Popen[str]) -> None:
    started.terminate()
    started.wait(timeout=30)
    started.stdout.close()


@contextmanager
def process(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program of ours and the address that its first line holds."""
    started = start(*command)
    try:
        line = started.stdout.readline()
        assert "ws://" in line, line
        yield started, "ws://" + line.split("ws://")[1].split()[0]
    finally:
        end(started)


@pytest.fixture(scope="module")
def clocked() -> Iterator[str]:
    with process("vst_vla.scripts.wire_robot", "port=0", "images=false", "image_size=32", f"speed={SPEED}") as (_, uri):
        yield uri


def serve_zero():
    return process("vst_vla.scripts.cli", "serve", "policy=zero", "port=0")


def test_without_a_clock_it_is_the_environment() -> None:
    """The same actions lead to the same states, step by step, as in this process; pictures are drawn when asked for."""
    actions = np.random.default_rng(3).uniform(-1, 1, (12, 7)).astype(np.float32)
    env = LiberoEnv("libero_object", image_size=32, images=False)
    expected = [env.reset(options={"init_state": 4})[0][STATE_KEY]]
    expected += [env.step(action)[0][STATE_KEY] for action in actions]
    env.close()
    with process("vst_vla.scripts.wire_robot", "port=0", "image_size=32", "speed=null") as (_, uri):
        robot = WireRobotClient(uri)
        assert np.array_equal(robot.reset(init_state=4).state, expected[0])
        for action, state in zip(actions, expected[1:], strict=True):
            assert np.array_equal(robot.step(action).state, state)
        seen = robot.observe()
        assert seen["observation/image"].shape == seen["observation/wrist_image"].shape == (32, 32, 3)
        assert seen["observation/image"].std() > 5
        assert seen["prompt"] == "pick up the alphabet soup and place it in the basket"
        assert (seen["tick"], seen["held"]) == (12, 0)
        for bad, message in (({"action": np.full(7, 2.0)}, "expected -1 to 1"), ({"jump": 1}, "unknown command")):
            with pytest.raises(ValueError, match=message):
                robot._ask(bad)
        assert robot.step(None).held == 1
        robot.close()


def test_the_clock_goes_on_without_commands(clocked: str) -> None:
    robot = WireRobotClient(clocked)
    robot.reset(init_state=0)
    time.sleep(0.3)
    first = robot.step(np.zeros(7, np.float32))
    assert (first.tick, first.held) == (1, 0), "the clock starts with the first command"
    time.sleep(1.05)
    later = robot.step(np.zeros(7, np.float32))
    waited = later.tick - first.tick
    assert 5 <= waited <= 13, "10 ticks a second"
    assert later.held == waited - 1
    robot.close()


def episode(uri: str, make: Callable, *, server: int, ticks: int, latency_s: float, jitter_s: float):
    """One episode of a policy that does not move, whose server is a slow network away."""
    robot = WireRobotClient(uri)
    relay = DelayRelay("127.0.0.1", server, latency_s=latency_s, jitter_s=jitter_s)
    try:
        with PolicyClient(f"ws://127.0.0.1:{relay.port}", timeout_s=5, connect_timeout_s=10) as policy:
            policy.wait_until_ready(timeout_s=10)
            strategy, start = make(policy), robot.reset(init_state=0)
            report = run_episode(robot, start=start, strategy=strategy, safety=SafetyFilter(HOLD), max_ticks=ticks)
            strategy.close()
    finally:
        relay.close()
        robot.close()
    return report


def test_async_inference_keeps_the_clock_that_sync_loses(clocked: str, serving) -> None:
    """150 ms of latency, 30 ms of jitter and 20 Hz, all at half speed: three control periods are missed per reply."""
    with serving(ZeroPolicy()) as running:
        slow = {"server": running.port, "ticks": 40, "latency_s": 0.15 / SPEED, "jitter_s": 0.03 / SPEED}
        for _ in range(3):  # other work on the machine may take the clock's time away
            fluent = episode(clocked, lambda policy: AsyncChunks(policy, replan=3), **slow)
            if fluent.chunks.empty_ticks <= 10:
                break
        waiting = episode(clocked, lambda policy: RecedingHorizon(policy, replan=4), **slow)
    assert fluent.chunks.empty_ticks <= 10, "only the first reply is waited for"
    assert waiting.held_ticks >= 13
    assert waiting.held_ticks - fluent.held_ticks >= 6
    assert fluent.chunks.stale_replies <= 1
    assert fluent.chunks.skipped_actions > 12


def test_a_killed_server_means_a_hold_and_a_new_one_a_resumption(clocked: str) -> None:
    """The arm moves, holds within the rest of its chunk, one timeout and one control period, and moves again."""
    timeout_s, period, replan = 0.5, 1 / (20 * SPEED), 4
    robot, timeline = WireRobotClient(clocked), []
    with serve_zero() as (first, uri), PolicyClient(uri, timeout_s=timeout_s, retry_s=0.05) as policy:
        policy.wait_until_ready(timeout_s=10)
        strategy, status = RecedingHorizon(policy, replan=replan), robot.reset(init_state=0)

        def drive_until(done: Callable[[], bool]) -> None:
            nonlocal status
            while not done() and not status.done:
                wanted = choose(strategy, robot, tick=status.tick)
                timeline.append((time.monotonic(), wanted is not None))
                status = robot.step(None if wanted is None else wanted.action)

        drive_until(lambda: status.tick >= 10)
        first.kill()
        killed = time.monotonic()
        second = start("vst_vla.scripts.cli", "serve", "policy=zero", f"port={uri.rsplit(':', 1)[1]}")
        drive_until(lambda: not timeline[-1][1])
        drive_until(lambda: timeline[-1][1])
        end(second)
    robot.close()
    first_hold = min(moment for moment, moving in timeline if not moving)
    busy_s = 1.5  # what a machine with other work may add
    assert killed < first_hold < killed + replan * period + timeout_s + period + busy_s
    assert timeline[-1][1], "it acts again once the server is back"
    assert timeline[-1][0] > first_hold


def test_drive_writes_a_record(clocked: str, serving, tmp_path: Path) -> None:
    out = tmp_path / "drive.json"
    with serving(ZeroPolicy()) as running:
        keys = [f"server={running.uri}", f"robot={clocked}", f"out={out}", f"speed={SPEED}"]
        assert drive.main([*keys, "strategy=ensemble", "init_states=[1,2]", "max_ticks=6", "replan=2"]) == 0
    record = json.loads(out.read_text())
    assert (record["episodes"], record["successes"]) == (2, 0)
    assert [row["init_state"] for row in record["rows"]] == [1, 2]
    assert all(row["ticks"] >= 6 and row["chunks"]["requests"] >= 2 for row in record["rows"])
    assert record["control_hz"] > 0


def test_it_stops_while_a_command_waits_for_its_period() -> None:
    robot = WireRobot("libero_object", image_size=64, speed=0.01, images=False)  # a period lasts five seconds
    uri, before = f"ws://127.0.0.1:{robot.listen()}", set(threading.enumerate())
    runner = threading.Thread(target=robot.run)
    runner.start()
    client = WireRobotClient(uri)
    client.reset(init_state=0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.step, None)
        time.sleep(0.3)
        robot.stop()
        runner.join(4)
        assert not runner.is_alive()
        waiting.exception(timeout=4)  # a status, or that the robot is gone: not silence
    client.close()
    deadline = time.monotonic() + 5
    while left := [one for one in set(threading.enumerate()) - before if not one.daemon and one.is_alive()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_bad_settings_and_a_robot_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="speed is 0, expected more than 0"):
        WireRobot("libero_object", speed=0)
    with pytest.raises(ConnectionError, match=r"no robot at ws://127\.0\.0\.1:1 "):
        WireRobotClient("ws://127.0.0.1:1")
    with pytest.raises(ValueError, match="unknown strategy 'asynch': did you mean 'async'"):
        drive.make_strategy(None, {"strategy": "asynch", "replan": 1})
