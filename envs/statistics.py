"""Success rates: their intervals, two of them compared, and how many episodes that takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import batched

import numpy as np

from vst_vla.vla.contracts import Array

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""
Z80 = 0.8416212335729143
"""Its 80 % quantile."""
_DRAWS_AT_ONCE = 500


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


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p value that two policies succeed equally often, from the pairs in which just one of them did.

    Source: Q. McNemar, Psychometrika 12, 1947, with binomial probabilities in the place of its approximation.
    """
    count = only_first + only_second
    tail = sum(math.comb(count, i) for i in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**count)


def paired_bootstrap(
    differences: Sequence[float], *, groups: Sequence[Hashable] | None = None, seed: int = 0, draws: int = 10_000
) -> tuple[float, float]:
    """The middle 95 % of the mean of paired differences, resampled with replacement (Efron's percentile interval).

    Args:
        differences: one a pair.
        groups: what each belongs to; groups are then drawn whole, as their pairs are not independent.
        seed: of the draws.
        draws: how many.

    Source: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979.

    Raises:
        ValueError: without any difference.
    """
    if not len(differences):
        raise ValueError("an interval needs at least one pair of episodes: compare runs of the same initial states")
    sums: dict[Hashable, float] = {}
    sizes: Counter[Hashable] = Counter()
    for name, value in zip(range(len(differences)) if groups is None else groups, differences, strict=True):
        sums[name] = sums.get(name, 0.0) + value
        sizes[name] += 1
    total, size = np.array(list(sums.values()), np.float64), np.array([sizes[name] for name in sums])
    rng = np.random.default_rng(seed)
    means = [_drawn_means(total, size, rng, count=len(block)) for block in batched(range(draws), _DRAWS_AT_ONCE)]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _drawn_means(total: Array, size: Array, rng: np.random.Generator, *, count: int) -> Array:
    """The means of `count` draws of as many groups as there are, with replacement."""
    places = rng.integers(len(total), size=(count, len(total)))
    return np.asarray(total[places].sum(axis=1) / size[places].sum(axis=1))


def episodes_to_tell_apart(first: float, second: float, *, z: float = Z95, z_power: float = Z80) -> int | None:
    """Episodes of each of two runs, on different scenes, after which their rates differ at the 5 % level with a power
    of 80 %; None for equal rates.

    Args:
        first: success rate of one policy.
        second: of the other.
        z: quantile of the level, two-sided.
        z_power: quantile of the power.

    Source: J. L. Fleiss, "Statistical methods for rates and proportions", 1981, without continuity correction.
    """
    if first == second:
        return None
    mean = (first + second) / 2
    spread = z * math.sqrt(2 * mean * (1 - mean))
    spread += z_power * math.sqrt(first * (1 - first) + second * (1 - second))
    return math.ceil((spread / (first - second)) ** 2)


def pairs_to_tell_apart(only_first: float, only_second: float, *, z: float = Z95, z_power: float = Z80) -> int | None:
    """The same for runs on the same scenes: pairs of episodes; None for equal shares.

    Args:
        only_first: share of the pairs in which just the first policy succeeds.
        only_second: share in which just the second one does.
        z: quantile of the level, two-sided.
        z_power: quantile of the power.

    Source: R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design",
    Biometrics 43, 1987.
    """
    difference, split = only_first - only_second, only_first + only_second
    if difference == 0:
        return None
    spread = z * math.sqrt(split) + z_power * math.sqrt(max(0.0, split - difference**2))
    return math.ceil((spread / difference) ** 2)
