"""3-D boxes read out of an answer, in the forms that VST's records have them."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, NamedTuple

BOX_NUMBERS = 9

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_TAG = re.compile(r"<3dbbox>(.*?)</3dbbox>", re.DOTALL)


class Box(NamedTuple):
    """One box: centre and sizes in m, angles in degrees divided by 180, all in the camera's frame."""

    label: str  # "" in the older tag form
    numbers: tuple[float, ...]  # (9,)


def parse_boxes(answer: str) -> list[Box]:
    """The boxes of an answer: a JSON list, fenced or bare, or the older `<3dbbox>` tags; reasoning before is ignored.

    Raises:
        ValueError: not a JSON list, an entry without "bbox_3d" and "label", or other than nine finite numbers.
    """
    answer = answer.rpartition("</think>")[2]
    if tags := _TAG.findall(answer):
        return [Box("", _nine([float(part) for part in re.findall(r"-?\d+(?:\.\d+)?", tag)])) for tag in tags]
    fenced = _FENCE.search(answer)
    try:
        entries = json.loads(fenced.group(1) if fenced else answer)
    except json.JSONDecodeError as error:
        raise ValueError(f"a box list that is not JSON ({error.msg} in line {error.lineno})") from error
    except RecursionError as error:
        raise ValueError("a box list that is nested too deeply") from error
    if not isinstance(entries, list):
        raise ValueError(f"a box list that is a JSON {type(entries).__name__}, not a list")
    return [_box(entry) for entry in entries]


def _box(entry: Any) -> Box:
    if not isinstance(entry, dict) or "bbox_3d" not in entry or not isinstance(entry.get("label"), str):
        raise ValueError('a box list with an entry that lacks "bbox_3d" or "label"')
    return Box(entry["label"], _nine(entry["bbox_3d"]))


def _nine(numbers: Any) -> tuple[float, ...]:
    values = numbers if isinstance(numbers, list) else []
    if len(values) != BOX_NUMBERS or not all(map(_is_finite, values)):
        raise ValueError(f"a box of other than {BOX_NUMBERS} finite numbers")
    return tuple(float(value) for value in values)


def _is_finite(value: Any) -> bool:
    """A number that a float holds; an integer of hundreds of digits is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
