"""Which rows share a pack, and the order that rows are met in."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from vst_vla.vla.data.order import BLOCK, Order
from vst_vla.vla.data.packs import Packs, fill


def lengths(count: int, *, longest: int = 900) -> np.ndarray:
    """Many short ones and a few long ones."""
    draws = np.random.default_rng(0).lognormal(5.0, 1.0, size=count)
    return np.clip(draws, 8, longest).astype(np.int32)


def packs(count: int = 3000, *, seed: int = 0, budget: int = 1000) -> Packs:
    return Packs(lengths(count), order=Order([count], seed=seed), budget=budget, seed=seed)


def test_every_row_is_in_one_pack_of_its_window_and_packs_are_full() -> None:
    data = packs()
    found, windows = [data[number] for number in range(data.count(6000))], data.window
    rows = list(chain.from_iterable(found))
    whole = Order([3000], seed=0).rows(0, -(-6000 // windows) * windows)
    assert sorted(rows) == sorted(whole.tolist())
    assert 6000 <= len(rows) < 6020
    tokens = [int(lengths(3000)[pack].sum()) for pack in found]
    assert max(tokens) <= 1000
    assert data.fullness > 0.97
    assert sum(tokens) / (1000 * len(tokens)) > 0.97


def test_an_epoch_of_a_small_dataset_is_one_window() -> None:
    data = packs(20)
    rows = list(chain.from_iterable(data[number] for number in range(data.count(20))))
    assert sorted(rows) == list(range(20))


def test_a_pack_depends_on_the_seed_and_its_number_alone() -> None:
    forwards, straight = packs(), packs()
    walked = [forwards[number] for number in range(300)]
    assert straight[299] == walked[299]
    assert [packs()[number] for number in (250, 3, 120)] == [walked[number] for number in (250, 3, 120)]
    assert packs(seed=1)[0] != walked[0]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([5, 5, 5, 5], [[0, 1], [2, 3]]),
        ([10, 1, 9], [[0], [1, 2]]),
        ([4, 6, 7, 3, 2, 8], [[4, 5], [2, 3], [0, 1]]),
        ([], []),
    ],
)
def test_filling(sizes: list[int], expected: list[list[int]]) -> None:
    assert fill(sizes, budget=10) == expected


def test_best_fit_takes_the_pack_with_the_least_room() -> None:
    assert fill([7, 6, 3], budget=10) == [[0, 2], [1]]


def test_one_dataset_is_met_whole_every_epoch() -> None:
    order = Order([2500], seed=3)
    assert sorted(order.rows(0, 2500)) == list(range(2500))
    assert sorted(order.rows(2500, 5000)) == list(range(2500))
    assert order.epoch == 2500
    assert order.rows(1200, 1210).tolist() == order.rows(0, 2500)[1200:1210].tolist()


def test_weights_are_the_shares_and_rows_still_come_once_an_epoch() -> None:
    order = Order([300, 1000, 4000], weights=[1, 2, 1], seed=0)
    rows = order.rows(0, 4 * BLOCK)
    sets = np.digitize(rows, [300, 1300])
    for block in sets.reshape(4, BLOCK):
        np.testing.assert_allclose(np.bincount(block) / BLOCK, [0.25, 0.5, 0.25], atol=0.002)
    first = rows[sets == 0]
    assert sorted(first[:300]) == list(range(300))
    assert sorted(first[300:600]) == list(range(300))
    second = rows[sets == 1]
    assert sorted(second[:1000]) == list(range(300, 1300))
    assert order.epoch == 1200, "the first set is a quarter of what is met"
    assert Order([300, 1000, 4000], weights=[1, 2, 1], seed=0).rows(3000, 3010).tolist() == rows[3000:3010].tolist()


@pytest.mark.parametrize("weights", [[1.0], [1, 0], [1, -2]])
def test_strange_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="for 2 datasets: give one positive number each"):
        Order([5, 5], weights=weights, seed=0)
