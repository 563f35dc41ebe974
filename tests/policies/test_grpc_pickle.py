"""Pickles read as data: what CPython writes for a robot comes back, everything else is refused, nothing runs."""

from __future__ import annotations

import os
import pickle
import random
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.async_inference.helpers import RemotePolicyConfig, TimedAction, TimedObservation

from vst_vla.policies.grpc_messages import RECORDS, read_observation_message, read_setup, write_actions
from vst_vla.policies.grpc_pickle import MAX_OPCODES, read_pickle

PROTOCOLS = (2, 3, 4, 5)


def read(data: bytes):
    return read_pickle(data, records=RECORDS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_come_back(protocol: int) -> None:
    shared = [1, "two"]
    value = {
        "numbers": [0, -1, 300, 70000, -(2**40), 2**63 - 1, 1.5, float("inf"), True, False, None],
        "texts": ["", "soup", "süß", "x" * 300],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), tuple(range(9))],
        "shared": [shared, shared, {}],
        "long": list(range(2500)),
    }
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        np.arange(24, dtype=np.float32).reshape(2, 4, 3)[:, ::2],
        np.arange(5, dtype=">i4"),
        np.array(3.5, np.float16),
        np.zeros((0, 3)),
        np.array([True, False]),
    ],
    ids=str,
)
def test_arrays_come_back(array: np.ndarray, protocol: int) -> None:
    twice = read(pickle.dumps([array, array, {"again": array}], protocol))
    for found in (*twice[:2], twice[2]["again"]):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_numpy_scalars_come_back(protocol: int) -> None:
    values = [np.float32(0.25), np.float64(-1e300), np.int64(-3), np.uint8(200), np.bool_(1)]
    found = read(pickle.dumps(values, protocol))
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_the_clients_messages_come_back(protocol: int) -> None:
    features = {
        "observation.state": {"dtype": "float32", "shape": (2,), "names": ["a.pos", "b.pos"]},
        "observation.images.front": {"dtype": "image", "shape": (4, 5, 3), "names": ["height", "width", "channels"]},
    }
    sent = RemotePolicyConfig("act", "somewhere", features, 7, "cpu", {"observation.images.front": "x"})
    setup = read_setup(pickle.dumps(sent, protocol))
    assert (setup.state_names, setup.cameras, setup.actions_per_chunk) == (("a.pos", "b.pos"), ("front",), 7)
    assert (setup.renamed, setup.wanted) == ({"observation.images.front": "x"}, "act somewhere")
    values = {"a.pos": 0.5, "b.pos": np.float32(2), "front": np.full((4, 5, 3), 9, np.uint8), "task": "go"}
    timed = TimedObservation(timestamp=12.5, timestep=3, observation=values, must_go=True)
    found = read_observation_message(pickle.dumps(timed, protocol))
    assert (found.timestep, found.timestamp, found.must_go) == (3, 12.5, True)
    assert found.values.keys() == values.keys()
    np.testing.assert_array_equal(found.values["front"], values["front"])


def test_actions_are_what_lerobot_reads() -> None:
    chunk = np.arange(14, dtype=np.float32).reshape(2, 7)
    data = write_actions(chunk, timestep=5, timestamp=100.0, fps=20)
    read_back = pickle.loads(data)  # as LeRobot's client does it; these bytes are ours
    assert all(isinstance(action, TimedAction) for action in read_back)
    assert [(a.get_timestep(), a.get_timestamp()) for a in read_back] == [(5, 100.0), (6, 100.05)]
    assert torch.equal(torch.stack([a.get_action() for a in read_back]), torch.from_numpy(chunk))
    assert len(write_actions(np.tile(chunk, (50, 1)), timestep=0, timestamp=0, fps=20)) < 60_000, "rows, not views"


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def test_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    observation = TimedObservation(timestamp=0.0, timestep=0, observation={"x": Runs(mark)})
    with pytest.raises(ValueError, match=r"message names 'posix.system', expected RemotePolicyConfig, TimedObs"):
        read(pickle.dumps(observation))
    assert not mark.exists()
    pickle.loads(pickle.dumps(observation))
    assert mark.exists(), "the same bytes do run in pickle"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (threading.Lock, "message names '_thread.lock'"),
        (Path("x"), "message names 'pathlib"),
        (torch.zeros(2), "message names 'torch.storage._load_from_bytes'"),
        (np.array([object()]), "array of 'O"),
        (np.array(["text"]), "array of 'U4'"),
        (np.zeros(2, dtype=[("a", "f4")]), "array of 'V4'"),
        (np.zeros(2, dtype="M8[s]"), "array of 'M8'"),
        ({1, 2}, "instruction EMPTY_SET"),
        ({1: 2}, "not a whole pickle"),
        (2**70, "more than 64 bits"),
        (1 + 2j, "message names 'builtins.complex'"),
        (np.ma.masked_array([1]), "message names 'numpy.ma"),
        (list(range(MAX_OPCODES)), "more than 50000 parts"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_everything_else_is_refused(value: object, reason: str) -> None:
    data = pickle.dumps(lambda: None) if value is None else _dumps(value)
    with pytest.raises(ValueError, match=reason):
        read(data)


def _dumps(value: object) -> bytes:
    if value is threading.Lock:  # a class by name, called: c_thread\nlock\n)R.
        return b"\x80\x04c_thread\nlock\n)R."
    return pickle.dumps(value)


def test_a_records_class_cannot_be_changed() -> None:
    """BUILD with attributes on the class itself, which CPython's unpickler allows."""
    name = b"clerobot.async_inference.helpers\nTimedObservation\n"
    for state in (b"}(\x8c\x01aK\x01u", b"N}(\x8c\x01aK\x01u\x86"):
        with pytest.raises(ValueError, match="not a whole pickle"):
            read(b"\x80\x04" + name + state + b"b.")


def test_messages_that_are_cut_or_changed_raise_only_value_errors() -> None:
    values = {"x": 0.5, "front": np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "n": np.float32(1), "task": "go"}
    good = pickle.dumps(TimedObservation(timestamp=1.0, timestep=2, observation=values))
    assert read(good).name == "TimedObservation"
    for end in range(len(good)):
        with pytest.raises(ValueError, match=r"."):
            read(good[:end])
    with pytest.raises(ValueError, match="1 bytes after its end"):
        read(good + b"x")
    rng, survived = random.Random(0), 0
    for _ in range(4000):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        try:
            read(bytes(bad))
            survived += 1
        except ValueError:
            pass
    assert survived < 3000, "most changes are seen; a changed pixel is a value like any other"


def test_a_claimed_size_takes_no_memory() -> None:
    huge = b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc."
    with pytest.raises(ValueError, match="expected"):
        read(huge)
