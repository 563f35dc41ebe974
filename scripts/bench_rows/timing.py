"""Times of several ways of doing one thing, taken in turns, so that other load on the machine meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

Figure = dict[str, Any]
"""median, min, max, unit, runs."""

WARM_UPS = 3


def in_turns(runs: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, A, B, A, B and so on, after a few that do not count; on a GPU until it is done."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + WARM_UPS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= WARM_UPS:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def figure(seconds: list[float], *, unit: str, scale: Callable[[float], float]) -> Figure:
    """The median of the values that `scale` makes of the seconds, with the extremes."""
    values = sorted(scale(value) for value in seconds)
    return {"median": statistics.median(values), "min": values[0], "max": values[-1], "unit": unit, "runs": len(values)}


def milliseconds(seconds: list[float]) -> Figure:
    """Times as they are."""
    return figure(seconds, unit="ms", scale=lambda value: value * 1e3)


def times_faster(seconds: Mapping[str, list[float]], *, than: str, ours: str) -> float:
    """The median, over turns, of another way's time over ours."""
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[than], strict=True))
