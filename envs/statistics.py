"""Intervals for success rates. Pure Python."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson_interval(successes: int, *, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a success probability, 95 % by default, as fractions in [0, 1].

    Unlike the textbook interval it stays sensible at 0 and at all successes, where robot evaluations often end.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Raises:
        ValueError: unless 0 <= successes <= trials and trials > 0.
    """
    if trials <= 0:
        raise ValueError(f"an interval needs at least one trial, got {trials}: run some episodes first")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes is {successes}, expected 0 to {trials}, the number of trials")
    rate = successes / trials
    scale = 1.0 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z * math.sqrt(rate * (1.0 - rate) / trials + z * z / (4.0 * trials * trials)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high
