"""The spatial data engine: families of questions with exact answers, out of simulated scenes.

A family is one file here and one line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vst_vla.envs.qa.base import Family, QAItem
from vst_vla.envs.qa.depth_order import DepthOrder
from vst_vla.envs.qa.detection import Detection
from vst_vla.vla.contracts import near_miss, unknown_name

FAMILIES: dict[str, Callable[..., Family]] = {"detection": Detection, "depth_order": DepthOrder}

__all__ = ["FAMILIES", "Family", "QAItem", "make_family"]


def make_family(name: str, **options: Any) -> Family:
    """The family of that name. Raises ValueError for an unknown name or option, with a near-miss hint."""
    if name not in FAMILIES:
        raise unknown_name("question family", name, FAMILIES)
    known = list(FAMILIES[name].__dataclass_fields__)  # type: ignore[attr-defined]
    for option in options:
        if option not in known:
            raise ValueError(f"unknown option '{option}' of {name}: {near_miss(option, known)}")
    return FAMILIES[name](**options)
