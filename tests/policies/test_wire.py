"""The codec: what openpi-client sends is read, what it reads is sent, and nothing malformed gets through."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from vst_vla.policies.wire import pack, unpack

ARRAYS = [
    np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    np.linspace(0, 1, 8, dtype=np.float32),
    np.zeros((0, 7), np.float64),
    np.array(3.5),
    np.array([True, False]),
    np.arange(4, dtype=">i8"),
    np.array(["pick", "place"]),
    np.arange(24, dtype=np.int16).reshape(4, 6).T,
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_survive(array: np.ndarray) -> None:
    back = unpack(pack({"a": array}))["a"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array)
    assert not back.flags.writeable


def test_bytes_on_the_wire_are_openpis() -> None:
    """The very map that openpi-client's msgpack_numpy makes, key by key and in its order."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = msgpack.packb({"a": {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": "<f4", b"shape": (2, 3)}})
    assert pack({"a": array}) == expected
    scalar = {"s": {b"__npgeneric__": True, b"data": 2.5, b"dtype": "<f8"}}
    assert pack({"s": np.float64(2.5)}) in (msgpack.packb(scalar), msgpack.packb({"s": 2.5}))
    assert pack({"s": np.int16(3)}) == msgpack.packb({"s": {b"__npgeneric__": True, b"data": 3, b"dtype": "<i2"}})


def test_string_keys_are_read() -> None:
    array = np.arange(6, dtype=np.int32)
    data = msgpack.packb({"a": {"__ndarray__": True, "data": array.tobytes(), "dtype": "<i4", "shape": [6]}})
    assert np.array_equal(unpack(data)["a"], array)
    assert unpack(msgpack.packb({"s": {"__npgeneric__": True, "data": 3, "dtype": "<i2"}}))["s"] == np.int16(3)


def test_plain_values_survive() -> None:
    message = {"prompt": "pick", "n": 3, "list": [1, 2.5, None], "map": {"a": True}, 7: b"x"}
    assert unpack(pack(message)) == message


def wire_array(**changes: object) -> bytes:
    content = {"__ndarray__": True, "data": bytes(8), "dtype": "<f4", "shape": [2], **changes}
    return msgpack.packb({"a": {key: value for key, value in content.items() if value is not ...}})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read"),
        (b"\xc1", "cannot be read"),
        (pack({"a": np.zeros(9)})[:-5], "cannot be read"),
        (pack({"a": 1}) + b"\x00\x00", "2 bytes after its end"),
        (msgpack.packb([1, 2]), "message is list, expected a msgpack map"),
        (msgpack.packb(5), "message is int"),
        (b"\x91" * 5000, "nested too deeply"),
        (b"\xdd\xff\xff\xff\xff" * 20, "cannot be read"),
        (b"\xdf\xff\xff\xff\xff", "cannot be read"),
        (msgpack.packb({"a": msgpack.Timestamp(1)}), "cannot be read"),
        (msgpack.packb({"a": msgpack.ExtType(5, b"code")}), "cannot be read"),
        (b"\x81\x91\x01\x01", "cannot be read"),
        (b"\x81\xa1\xff\x01", "cannot be read"),
        (wire_array(dtype="|O"), "does not travel"),
        (wire_array(dtype="|V8"), "does not travel"),
        (wire_array(dtype="<c8"), "does not travel"),
        (wire_array(dtype="f4,f4"), "does not travel"),
        (wire_array(dtype="nonsense"), "cannot be read"),
        (wire_array(dtype=5), "element type '5'"),
        (wire_array(dtype="<U99999999"), "element type"),
        (wire_array(shape=[3]), "has 8 bytes, expected 3 items"),
        (wire_array(shape=[-2]), "expected a list of whole numbers"),
        (wire_array(shape=[2**63, 0], data=b""), "cannot be read"),
        (wire_array(shape=2), "expected a list of whole numbers"),
        (wire_array(shape=[True, 2]), "expected a list of whole numbers"),
        (wire_array(shape=[1] * 40), "expected a list of whole numbers"),
        (wire_array(shape=...), "lacks its 'shape'"),
        (wire_array(data="text"), "has str bytes"),
        (msgpack.packb({"s": {"__npgeneric__": True, "data": [1], "dtype": "<i2"}}), "a scalar holds a list"),
        (msgpack.packb({"s": {"__npgeneric__": True, "data": "x", "dtype": "<i2"}}), "cannot be read"),
        (msgpack.packb({"s": {"__npgeneric__": True, "data": 2**60, "dtype": "<i2"}}), "cannot be read"),
    ],
)
def test_malformed_messages_name_themselves(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        unpack(data)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("value", [np.array([object()]), np.zeros(2, "c8"), np.zeros(2, "i4,f4"), object(), 2**80])
def test_what_does_not_travel_is_not_sent(value: object) -> None:
    with pytest.raises(ValueError, match=r"travel|cannot send"):
        pack({"a": value})
