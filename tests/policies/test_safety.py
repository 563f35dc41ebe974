"""Each limit acts where it must, nowhere else, is counted and logged; the watchdog holds."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from vst_vla.policies.safety import SafetyFilter, SafetyLimits, Watchdog

ROOT = Path(__file__).resolve().parents[2]
STATE = np.array([0.5, 0.0, 0.3, 0, 0, 0, 0.04, -0.04])


def act(*values: float, gripper: float = -1.0) -> np.ndarray:
    return np.array([*values, *[0.0] * (6 - len(values)), gripper], np.float32)


def made(**limits) -> SafetyFilter:
    return SafetyFilter(SafetyLimits(**limits))


def test_without_limits_everything_good_passes_unchanged() -> None:
    safety, rng = made(), np.random.default_rng(0)
    for _ in range(200):
        action = rng.uniform(-1, 1, 7).astype(np.float32)
        assert np.array_equal(safety.apply(action, state=STATE), action)
    assert not safety.counts


def test_what_is_not_finite_or_of_another_shape_holds() -> None:
    safety = made()
    assert safety.apply(act(np.nan), state=STATE) is None
    assert safety.apply(act(np.inf), state=STATE) is None
    assert safety.apply(np.zeros(6), state=STATE) is None
    assert safety.apply(act(0.1), state=STATE * np.nan) is None
    assert safety.apply(None, state=STATE) is None
    assert safety.counts == {"not_finite": 4}


def test_range_and_age() -> None:
    safety = made(max_age_steps=3)
    assert safety.apply(act(3.0), state=STATE)[0] == 1.0
    assert safety.apply(act(0.5), state=STATE, age=3) is not None
    assert safety.apply(act(0.5), state=STATE, age=4) is None
    assert safety.counts == {"range": 1, "stale": 1}


def test_speed_keeps_the_direction() -> None:
    safety = made(max_speed=0.25, max_turn_speed=1.0)
    cut = safety.apply(act(0.8, 0.4, 0, 0, 0, 0.9), state=STATE)
    assert np.linalg.norm(cut[:3]) * 0.05 * 20 == pytest.approx(0.25)
    assert cut[0] / cut[1] == pytest.approx(2.0)
    assert cut[5] * 0.5 * 20 == pytest.approx(1.0)
    assert safety.counts == {"move_speed": 1, "turn_speed": 1}


def test_acceleration_from_rest_and_after_a_hold() -> None:
    safety = made(max_acceleration=2.0, max_turn_acceleration=4.0)
    speeds = [float(safety.apply(act(0.5, 0, 0, 0.5), state=STATE)[0]) for _ in range(6)]
    assert speeds == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])  # m/s at 0.05 m a step and 20 Hz
    assert safety.counts["move_acceleration"] == 4
    safety.apply(None, state=STATE)
    assert float(safety.apply(act(0.5), state=STATE)[0]) == pytest.approx(0.1)


def test_speed_and_acceleration_hold_together() -> None:
    safety, rng, before = made(max_speed=0.3, max_acceleration=3.0), np.random.default_rng(1), np.zeros(3)
    for _ in range(300):
        velocity = safety.apply(rng.uniform(-1, 1, 7), state=STATE)[:3].astype(float)  # m/s
        assert np.linalg.norm(velocity) <= 0.3 + 1e-6
        assert np.linalg.norm(velocity - before) * 20 <= 3.0 + 1e-5
        before = velocity


def test_the_workspace_is_not_left_and_can_be_returned_to() -> None:
    safety = made(workspace_low=(0.3, -0.4, 0.02), workspace_high=(0.52, 0.4, 0.6))
    cut = safety.apply(act(1.0, 0.5), state=STATE)
    assert (cut[0] * 0.05, cut[1]) == (pytest.approx(0.02), 0.5)
    outside = STATE.copy()
    outside[2] = 0.01
    assert safety.apply(act(0, 0, -1.0), state=outside)[2] == 0.0
    assert safety.apply(act(0, 0, 1.0), state=outside)[2] == 1.0
    assert safety.counts == {"workspace": 2}


def test_the_gripper_must_insist() -> None:
    safety = made(gripper_steps=3)
    asked = [-1, 1, -1, 1, 1, 1, 1, -1, 1]
    passed = [float(safety.apply(act(gripper=g), state=STATE)[6]) for g in asked]
    assert passed == [-1, -1, -1, -1, -1, 1, 1, 1, 1]
    assert safety.counts == {"gripper": 4}


def test_a_limit_is_logged_when_it_begins_to_act(caplog: pytest.LogCaptureFixture) -> None:
    safety = made(max_speed=0.25)
    with caplog.at_level(logging.WARNING):
        for action in (act(1.0), act(1.0), act(0.1), act(1.0)):
            safety.apply(action, state=STATE)
    assert safety.counts["move_speed"] == 3
    assert [record.message.split("'")[1] for record in caplog.records] == ["move_speed"] * 2


def test_a_new_episode_starts_from_rest() -> None:
    safety = made(max_acceleration=2.0, gripper_steps=3)
    for _ in range(5):
        safety.apply(act(0.5), state=STATE)
    safety.reset()
    first = safety.apply(act(0.5, gripper=1.0), state=STATE)
    assert (first[0], first[6]) == (pytest.approx(0.1), 1.0)
    assert safety.counts["move_acceleration"] == 5


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "safety").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_yamls_are_limits(path: Path) -> None:
    limits = SafetyLimits.from_dict(yaml.safe_load(path.read_text()))
    if path.stem == "libero":
        action = act(1.0, -1.0, 1.0, 1.0, 1.0, -1.0, gripper=1.0)
        assert np.array_equal(SafetyFilter(limits).apply(action, state=STATE), action)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"max_sped": 1}, "unknown safety limit 'max_sped': did you mean 'max_speed'"),
        ({"max_speed": "fast"}, "'max_speed' is 'fast', expected a number"),
        ({"max_speed": 0}, "max_speed is 0, expected more than 0"),
        ({"max_speed": float("nan")}, "max_speed is nan, expected more than 0"),
        ({"gripper_steps": 0}, "gripper_steps is 0"),
        ({"workspace_low": [0, 0, 0]}, "only one corner"),
        ({"workspace_low": [0, 0, 0], "workspace_high": [1, 1]}, "the lower corner first"),
        ({"workspace_low": [0, 0, 2], "workspace_high": [1, 1, 1]}, "the lower corner first"),
    ],
)
def test_limits_that_make_no_sense(content: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SafetyLimits.from_dict(content)


def test_the_watchdog_holds_once_a_silence() -> None:
    held: list[float] = []
    first = threading.Event()

    def hold() -> None:
        held.append(time.monotonic())
        first.set()

    watchdog = Watchdog(hold, timeout_s=0.2)
    time.sleep(0.4)
    assert not held, "nothing moved yet"
    watchdog.feed()
    start = time.monotonic()
    assert first.wait(5)
    assert held[0] - start >= 0.19
    time.sleep(0.5)
    assert (len(held), watchdog.count) == (1, 1)
    first.clear()
    watchdog.feed()
    assert first.wait(5)
    watchdog.close()
    assert watchdog.count == 2


def test_the_watchdog_survives_an_arm_that_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    called = threading.Event()

    def hold() -> None:
        calls.append(1)
        called.set()
        raise ConnectionError("the robot is lost")

    watchdog = Watchdog(hold, timeout_s=0.05)
    for _ in range(2):
        watchdog.feed()
        assert called.wait(5)
        called.clear()
    watchdog.close()
    assert len(calls) == 2
    assert "could not be told to hold: the robot is lost" in caplog.text
