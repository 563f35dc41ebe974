"""Reads pickles of plain data without unpickling them: numbers, text, lists, maps, numpy arrays and named records.

LeRobot's robot clients send pickles, and Python's own unpickler calls whatever a pickle names. This is a small stack
machine over `pickletools.genops` that calls nothing a message names: an array's name leads to a function of this file,
a record's name to a `Record` whose fields stay plain data, and every other name is refused. Reads protocols 2 to 5 as
CPython writes them for such data.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vst_vla.vla.contracts import Array

MAX_OPCODES = 50_000
"""Longest program; a robot of 100 motors and 4 cameras needs about 1,000. The bytes of pictures do not count."""
MAX_DIMS = 16
MAX_INT = 2**63
KINDS = "biuf"
"""Kinds of array element that are read: truth values, integers, floats."""

_ARGUMENT = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BYTEARRAY8"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_WITHOUT_EFFECT = ("PROTO", "FRAME")
_NUMPY = ("numpy._core", "numpy.core")  # numpy 2, numpy 1


@dataclass(frozen=True)
class Record:
    """An object of a known class: its class' name and its attributes, plain data."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Name:
    """A class or function that the pickle mentions; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:80]


@dataclass
class _Element:
    """A numpy element type, whose byte order is set after it was made."""

    dtype: np.dtype[Any]


@dataclass(eq=False)
class _UnfilledArray:
    """An array before its content came, and where the memo keeps it."""

    memo_keys: list[int] = field(default_factory=list)


def read_pickle(data: bytes, *, records: Mapping[tuple[str, str], str]) -> Any:
    """The value in a pickle.

    Args:
        data: the whole pickle.
        records: (module, class) of the records that may occur -> the name that their `Record` gets.

    Raises:
        ValueError: bytes that are no such pickle, are cut short, or name anything else.
    """
    try:
        return _Machine(records).run(data)
    except (IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"message of {len(data)} bytes is not a whole pickle of LeRobot's") from error


def _instructions(data: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    try:
        yield from pickletools.genops(data)
    except ValueError as error:
        raise ValueError(f"message of {len(data)} bytes is not a whole pickle: {error}") from error


class _Machine:
    """The stack, the marks in it, and the memo of one pickle."""

    def __init__(self, records: Mapping[tuple[str, str], str]) -> None:
        self._records = records
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "MARK": lambda _: self._marks.append(len(self._stack)),
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "TUPLE": lambda _: self._stack.append(tuple(self._since_mark())),
            "APPEND": lambda _: self._append([self._stack.pop()]),
            "APPENDS": lambda _: self._append(self._since_mark()),
            "SETITEM": lambda _: self._set_items(self._last(2)),
            "SETITEMS": lambda _: self._set_items(self._since_mark()),
            "MEMOIZE": lambda _: self._remember(len(self._memo)),
            "BINPUT": self._remember,
            "LONG_BINPUT": self._remember,
            "BINGET": lambda key: self._stack.append(self._memo[key]),
            "LONG_BINGET": lambda key: self._stack.append(self._memo[key]),
            "GLOBAL": lambda both: self._stack.append(_Name(*both.split(" ", 1))),
            "STACK_GLOBAL": lambda _: self._stack.append(_Name(*map(_text, self._last(2)))),
            "REDUCE": lambda _: self._reduce(*self._last(2)),
            "NEWOBJ": lambda _: self._new(*self._last(2)),
            "BUILD": lambda _: self._build(self._stack.pop()),
        }

    def run(self, data: bytes) -> Any:
        """Runs the program to its end."""
        for count, (opcode, argument, position) in enumerate(_instructions(data)):
            if count == MAX_OPCODES:
                raise ValueError(f"message has more than {MAX_OPCODES} parts: send one observation")
            if opcode.name == "STOP":
                return self._end(len(data) - int(position or 0) - 1)
            self._step(opcode.name, argument)
        raise AssertionError("genops ends with STOP or raises")

    def _step(self, name: str, argument: Any) -> None:
        if name in _ARGUMENT:
            self._stack.append(_small(argument))
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self._stack.append(tuple(self._last(_TUPLES[name])))
        elif name in self._steps:
            self._steps[name](argument)
        elif name not in _WITHOUT_EFFECT:
            raise ValueError(f"message uses the pickle instruction {name}: send numbers, text and numpy arrays")

    def _end(self, left: int) -> Any:
        (value,) = self._stack
        if left:
            raise ValueError(f"message has {left} bytes after its end: send one pickle a message")
        return value

    def _last(self, count: int) -> list[Any]:
        """Takes the last `count` values off the stack."""
        if len(self._stack) < count:
            raise IndexError
        start = len(self._stack) - count
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _since_mark(self) -> list[Any]:
        return self._last(len(self._stack) - self._marks.pop())

    def _remember(self, key: int) -> None:
        value = self._stack[-1]
        if isinstance(value, _UnfilledArray):
            value.memo_keys.append(key)
        self._memo[key] = value

    def _append(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise TypeError
        self._stack[-1].extend(values)

    def _set_items(self, flat: list[Any]) -> None:
        if type(self._stack[-1]) is not dict:
            raise TypeError
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            self._stack[-1][_text(key)] = value

    def _reduce(self, name: Any, arguments: Any) -> None:
        make = _MAKERS.get((name.module, name.name)) if isinstance(name, _Name) else None
        if make is None:
            raise self._unknown(name)
        self._stack.append(make(*arguments))

    def _new(self, name: Any, arguments: Any) -> None:
        known = self._records.get((name.module, name.name)) if isinstance(name, _Name) else None
        if known is None or arguments != ():
            raise self._unknown(name)
        self._stack.append(Record(known))

    def _build(self, state: Any) -> None:
        """Fills the last value: a record's fields, an element type's byte order, an array's content."""
        target = self._stack[-1]
        if isinstance(target, Record) and type(state) is dict:
            target.fields.update(state)
        elif isinstance(target, _Element):
            target.dtype = _with_order(target.dtype, state)
        elif isinstance(target, _UnfilledArray):
            _, shape, element, is_fortran, content = state
            self._stack[-1] = array = _array(content, element, shape, order="F" if is_fortran else "C")
            self._memo.update(dict.fromkeys(target.memo_keys, array))
        else:
            raise TypeError

    def _unknown(self, name: Any) -> ValueError:
        known = ", ".join(sorted(set(self._records.values())))
        what = f"'{name}'" if isinstance(name, _Name) else f"a call of a {type(name).__name__}"
        return ValueError(f"message names {what}, expected {known} of numbers, text and numpy arrays: it is not read")


def _empty_array(kind: Any, shape: Any, element: Any) -> _UnfilledArray:
    if kind != _Name("numpy", "ndarray"):
        raise ValueError(f"message holds an array of the class {kind}, expected numpy.ndarray")
    return _UnfilledArray()


def _element(name: Any, align: Any = False, copy: Any = True) -> _Element:  # noqa: FBT002 - numpy's own order
    if not isinstance(name, str) or len(name) > 3 or name[:1] not in KINDS:
        raise ValueError(f"message holds an array of {str(name)[:40]!r}, expected numbers")
    return _Element(np.dtype(name))


def _with_order(dtype: np.dtype[Any], state: Any) -> np.dtype[Any]:
    _, order, subarray, names, fields, *_ = state
    if (subarray, names, fields) != (None, None, None) or order not in {"<", ">", "|", "="}:
        raise ValueError("message holds an array of records, expected numbers")
    return dtype.newbyteorder(order)


def _array(content: Any, element: Any, shape: Any, order: Any = "C") -> Array:
    """An array (shape) over the bytes `content`, read-only."""
    if not isinstance(element, _Element) or order not in ("C", "F") or not isinstance(content, bytes | bytearray):
        raise TypeError
    if len(shape) > MAX_DIMS or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"message holds an array of shape {str(shape)[:60]}")
    if len(content) != math.prod(shape) * element.dtype.itemsize:
        raise ValueError(f"an array of {element.dtype} {shape} has {len(content)} bytes, expected another number")
    return np.ndarray(shape, element.dtype, bytes(content), order=order)


def _scalar(element: Any, content: Any) -> Any:
    return _array(content, element, ())[()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _small(value: Any) -> Any:
    if isinstance(value, int) and not -MAX_INT <= value < 2 * MAX_INT:
        raise ValueError("message holds an integer of more than 64 bits")
    return value


_MAKERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _element,
    **{(f"{numpy}.multiarray", "_reconstruct"): _empty_array for numpy in _NUMPY},
    **{(f"{numpy}.multiarray", "scalar"): _scalar for numpy in _NUMPY},
    **{(f"{numpy}.numeric", "_frombuffer"): _array for numpy in _NUMPY},
}
