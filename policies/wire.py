"""Messages of the openpi websocket protocol: msgpack, with numpy arrays as small maps. Numpy and msgpack only.

An array is a map with the bytes keys `__ndarray__` (true), `data`, `dtype` (numpy's `dtype.str`, such as `<f4`) and
`shape`; a numpy scalar has `__npgeneric__`, `data` and `dtype`. Those are the names that openpi-client uses; string
keys, as the vla-eval harness sends them, are read too. Nothing here can run code: objects and records are refused in
both directions.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

from vst_vla.vla.contracts import Array

Message = dict[Any, Any]

KINDS = "biufSU"
"""Kinds of array element that travel: truth values, integers, floats, and text of fixed width."""
MAX_ITEMS = 4096
"""Longest list or map. A message may claim any length before its items arrive, and memory is taken at the claim."""
MAX_DIMS = 16
MAX_TYPE_NAME = 8


def pack(message: Message) -> bytes:
    """A message as bytes.

    Raises:
        ValueError: for something that does not travel, such as an array of objects.
    """
    try:
        return msgpack.packb(message, default=_encode)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"cannot send this message ({error}): send numbers, text, lists, maps and arrays") from error


def unpack(data: bytes) -> Message:
    """A message from bytes; its arrays are read-only views of `data`'s copy.

    Raises:
        ValueError: bytes that are no msgpack map, are cut short, or hold an array that is not what it says.
    """
    try:
        message = msgpack.unpackb(
            data,
            object_hook=_decode,
            strict_map_key=False,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except msgpack.ExtraData as error:
        raise ValueError(f"message has {len(error.extra)} bytes after its end: send one map a message") from error
    except msgpack.StackError as error:
        raise ValueError("message is nested too deeply: send one flat map") from error
    except (ValueError, TypeError, OverflowError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"message of {len(data)} bytes cannot be read: {reason}") from error
    if not isinstance(message, dict):
        raise ValueError(f"message is {type(message).__name__}, expected a msgpack map")
    return message


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in KINDS:
        raise ValueError(f"an array of {value.dtype} does not travel: send numbers or text")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise ValueError(f"a {type(value).__name__} does not travel: send numbers, text, lists, maps and arrays")


def _decode(value: Message) -> Any:
    if b"__ndarray__" in value:
        return _array(value, data=b"data", dtype=b"dtype", shape=b"shape")
    if "__ndarray__" in value:
        return _array(value, data="data", dtype="dtype", shape="shape")
    if b"__npgeneric__" in value:
        return _scalar(value, data=b"data", dtype=b"dtype")
    if "__npgeneric__" in value:
        return _scalar(value, data="data", dtype="dtype")
    return value


def _array(value: Message, *, data: str | bytes, dtype: str | bytes, shape: str | bytes) -> Array:
    content, kind, sides = _field(value, data), _element(_field(value, dtype)), _field(value, shape)
    if not isinstance(sides, list) or len(sides) > MAX_DIMS or any(type(n) is not int or n < 0 for n in sides):
        raise ValueError(f"an array has shape {str(sides)[:60]}, expected a list of whole numbers")
    if not isinstance(content, bytes) or len(content) != math.prod(sides) * kind.itemsize:
        size = len(content) if isinstance(content, bytes) else type(content).__name__
        raise ValueError(f"an array of {kind} {tuple(sides)} has {size} bytes, expected {math.prod(sides)} items")
    return np.ndarray(tuple(sides), kind, content)


def _scalar(value: Message, *, data: str | bytes, dtype: str | bytes) -> Any:
    kind, content = _element(_field(value, dtype)), _field(value, data)
    if not isinstance(content, bool | int | float | str | bytes):
        raise ValueError(f"a scalar holds a {type(content).__name__}, expected a number or text")
    return kind.type(content)


def _element(name: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or not name or name[-1] == "]" or len(name) > MAX_TYPE_NAME:
        raise ValueError(f"an array has element type {str(name)[:60]!r}, expected a name such as '<f4'")
    kind = np.dtype(name)
    if kind.kind not in KINDS:
        raise ValueError(f"an array of {kind} does not travel: send numbers or text")
    return kind


def _field(value: Message, name: str | bytes) -> Any:
    if name not in value:
        text = name if isinstance(name, str) else name.decode()
        raise ValueError(f"an array lacks its '{text}': send __ndarray__, data, dtype and shape")
    return value[name]
