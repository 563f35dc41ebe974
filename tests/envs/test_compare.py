"""Two runs compared: the numbers against known ones, the refusals, the page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from test_merge import record, shard

from vst_vla.envs.compare import compare_runs, write_comparison
from vst_vla.envs.statistics import episodes_to_tell_apart, mcnemar_exact, paired_bootstrap, pairs_to_tell_apart


def run(folder: Path, outcomes: str, *, task_id: int = 0, policy: str = "a", **changes: Any) -> Path:
    """A run with an episode a letter: + succeeded, - did not, . was not run."""
    for state, letter in enumerate(outcomes):
        made = record(task_id, state, success=letter == "+", **changes)
        if letter != ".":
            shard(folder, replace(made, run=replace(made.run, policy=policy)))
    return folder


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (3, 9), (10, 2), (7, 7), (0, 12)])
def test_mcnemar_is_the_binomial_test(a: int, b: int) -> None:
    expected = stats.binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
    assert mcnemar_exact(a, b) == pytest.approx(expected)


def test_the_bootstrap_finds_the_spread_of_a_mean() -> None:
    values = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 400, p=[0.1, 0.6, 0.3])
    low, high = paired_bootstrap(values, draws=2000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.012)
    assert paired_bootstrap([1.0, 1.0]) == (1.0, 1.0)
    assert paired_bootstrap(values, draws=500) == paired_bootstrap(values, draws=500)
    with pytest.raises(ValueError, match="at least one pair"):
        paired_bootstrap([])


def test_numbers_of_episodes_are_those_of_the_textbooks() -> None:
    assert episodes_to_tell_apart(0.5, 0.6) == 388  # Fleiss, without continuity correction
    assert episodes_to_tell_apart(0.97, 0.95) == episodes_to_tell_apart(0.95, 0.97) == 1506
    assert episodes_to_tell_apart(0.5, 0.5) is None
    assert pairs_to_tell_apart(0.05, 0.15) == 155
    assert pairs_to_tell_apart(0.1, 0.1) is None
    assert pairs_to_tell_apart(0.0, 1.0) == 4


def test_as_many_pairs_as_it_says_do_tell_them_apart() -> None:
    """By simulation: with that number of pairs, McNemar's test finds the difference in about 80 % of the runs."""
    count = pairs_to_tell_apart(0.05, 0.2)
    assert count is not None
    draws = np.random.default_rng(0).multinomial(count, [0.05, 0.2, 0.75], size=600)
    found = np.mean([mcnemar_exact(int(a), int(b)) < 0.05 for a, b, _ in draws])
    assert 0.7 < found < 0.88  # the exact test is a little stricter than the formula's


def test_pairs_are_counted_and_the_rest_is_left_out(tmp_path: Path) -> None:
    first = run(tmp_path / "first", "++--+.+")
    second = run(tmp_path / "second", "+-+-.++", policy="b")
    run(first, "+", axes=("light",), strength=0.5)
    run(second, "-", axes=("light",), strength=0.5, policy="b")
    report, pairs = compare_runs(first, second)
    assert [report[key] for key in ("num_pairs", "both", "only_first", "only_second", "neither")] == [6, 2, 2, 1, 1]
    assert report["num_unpaired"] == [1, 1]
    assert len(pairs) == 6
    assert report["difference"] == pytest.approx(-1 / 6, abs=1e-4)
    assert report["mcnemar_p"] == 1.0
    assert [(row["label"], row["num_pairs"]) for row in report["scenes"]] == [("official", 5), ("light 0.5", 1)]
    assert [row["label"] for row in report["tasks"]] == ["0: do it"]
    assert report["first"]["num_episodes"] == 6


def test_the_files_say_it(tmp_path: Path) -> None:
    first = run(tmp_path / "first", "+" * 12)
    second = run(tmp_path / "second", "-" * 12, policy="b<i>")
    report = write_comparison(first, second, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == report
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "<script" not in page
    assert "b<i>" not in page
    for part in ("b&lt;i&gt; against a", "-100", "They differ", "p = 0.000488", "12 pairs of episodes", "state 3"):
        assert part in page
    same = write_comparison(first, first, out=tmp_path / "same")
    assert same["pairs_needed"] is None
    assert "Nowhere: every episode ended alike." in (tmp_path / "same" / "compare.html").read_text()


@pytest.mark.parametrize(
    ("key", "value"), [("assets", "official"), ("protocol", "openpi"), ("max_steps", 100), ("env_seed", 7), ("seed", 1)]
)
def test_other_conditions_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    first = run(tmp_path / "first", "+")
    made = record(0, 0)
    second = shard(tmp_path / "second", replace(made, run=replace(made.run, **{key: value})))
    with pytest.raises(ValueError, match=f"has {key}=.* has {key}={value}: equal numbers name different episodes"):
        compare_runs(first, second)


def test_runs_without_a_common_episode_are_refused(tmp_path: Path) -> None:
    first, second = run(tmp_path / "first", "+"), run(tmp_path / "second", ".+")
    with pytest.raises(ValueError, match="have no episode in common"):
        compare_runs(first, second)
