"""Wilson's interval against published values."""

from __future__ import annotations

import pytest

from vst_vla.envs.statistics import wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # from the closed form, as statsmodels' proportion_confint(method="wilson") and R's binom.wilson give them
        (0, 20, 0.0, 0.1611),
        (19, 20, 0.7639, 0.9911),
        (20, 20, 0.8389, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 2, 0.0945, 0.9055),
        (81, 263, 0.2553, 0.3662),  # Newcombe, Statistics in Medicine 17, 1998, table I
        (15, 148, 0.0624, 0.1605),
    ],
)
def test_known_values(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials=trials) == pytest.approx((low, high), abs=6e-5)


def test_mirror_image() -> None:
    low, high = wilson_interval(3, trials=17)
    assert wilson_interval(14, trials=17) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("successes", "trials", "message"),
    [(0, 0, "at least one trial"), (3, 2, "successes is 3, expected 0 to 2"), (-1, 2, "expected 0 to 2")],
)
def test_bad_counts(successes: int, trials: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wilson_interval(successes, trials=trials)
