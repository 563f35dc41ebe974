"""The server under malformed messages and under many clients; the full runs are tests/bench/fuzz.py and soak.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from vst_vla.policies.server_limits import ServerLimits

pytestmark = pytest.mark.alone

BENCH = Path(__file__).resolve().parents[1] / "bench"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", [1, 2])
def test_malformed_messages_are_refused_with_a_reason(counting_policy, serving, seed: int) -> None:
    fuzz = load("fuzz")
    limits = ServerLimits(max_message_mib=fuzz.LARGEST / 2**20)
    with serving(counting_policy(), limits=limits) as running:
        refused = fuzz.fuzz(running.port, messages=200, seed=seed)
        assert len(refused) == len(fuzz.MESSAGES) + 1
        assert min(refused.values()) > 5
        assert not fuzz.send(running.port, fuzz.pack(fuzz.good(fuzz.np.random.default_rng(0))))


@pytest.mark.slow
def test_thirty_two_clients_for_a_minute() -> None:
    record = load("soak").soak(clients=32, seconds=60)
    assert record["errors"] == []
    assert record["requests"] > 32 * 60
    assert record["memory_growth"] < 0.05
    latency = record["latency_ms"]
    assert latency["median_of_the_slowest_client"] < 3 * latency["median_of_the_fastest_client"]
