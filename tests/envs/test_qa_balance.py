"""Names tell nothing: the ledger keeps candidates even, and contests are among those that can win."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vst_vla.envs.qa.balance import Ledger
from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.options import fair_contest

NAMES = ("basket", "milk", "butter", "ketchup")


def item(*contest: str) -> QAItem:
    """The first of the names is the right one."""
    return QAItem(
        family="distance", level="L2", kind=PICTURES, question="?", answer="!", images=(), about={}, contest=contest
    )


def offers(rng: np.random.Generator, count: int) -> list[QAItem]:
    """Of random names the one that comes first in `NAMES` mostly wins; the basket always does."""
    found = []
    for _ in range(count):
        names = list(rng.permutation(NAMES)[: int(rng.integers(2, 5))])
        names.sort(key=lambda name: NAMES.index(name) + (name != "basket") * 2 * rng.random())
        found.append(item(*map(str, names)))
    return found


def leads(items: Sequence[QAItem]) -> Counter[str]:
    total: Counter[str] = Counter()
    for taken in items:
        for place, name in enumerate(taken.contest):
            total[name] += len(taken.contest) - 1 if place == 0 else -1
    return total


def test_what_evens_out_comes_first() -> None:
    ledger = Ledger()
    assert ledger.admit([item("milk", "butter")], count=1)
    again, other, back = item("milk", "butter"), item("ketchup", "basket"), item("butter", "milk")
    assert ledger.admit([again, other, back], count=1) == [back]
    assert ledger.admit([again], count=1) == [again], "all is even now"
    assert ledger.admit([again], count=1) == []
    ledger.withdraw([again])
    assert ledger.admit([again], count=1) == [again]


def test_one_that_always_wins_is_hardly_asked_about() -> None:
    """In a shard's few questions as well, offered a few at a time."""
    rng, asked, offered = np.random.default_rng(0), 0, 0
    for _ in range(50):
        ledger = Ledger()
        taken = [found for _ in range(6) for found in ledger.admit(offers(rng, 10), count=2)]
        assert leads(taken)["basket"] <= 3, "the first time only"
        asked += sum("basket" in found.contest for found in taken)
        offered += sum("basket" in found.contest for found in offers(rng, len(taken)))
    assert asked < offered / 3


def test_items_without_candidates_keep_their_part() -> None:
    free, another, even, odd = item(), item(), item("milk", "butter"), item("butter", "milk")
    ledger = Ledger()
    assert ledger.admit([free, even, odd, another], count=2) == [free, even]
    assert ledger.admit([free, another, odd], count=2) == [free, another]


def test_every_rival_of_a_contest_wins_equally_often() -> None:
    """The basket is never first, the milk in most cases."""
    cases = [(case, {"milk": 0.1, "butter": 0.3, "ketchup": 0.4, "basket": 0.5}) for case in range(8)]
    cases += [(8, {"milk": 0.3, "butter": 0.1, "basket": 0.6}), (9, {"milk": 0.3, "butter": 0.32, "ketchup": 0.2})]
    rng, wins, parts = np.random.default_rng(0), Counter[str](), Counter[str]()
    for _ in range(2000):
        contest = fair_contest(cases, most=4, lead=0.05, rng=rng)
        if contest is not None:
            distances = dict(cases)[contest.case]
            names = (contest.winner, *contest.others)
            assert distances[contest.winner] + 0.05 <= min(distances[name] for name in contest.others)
            assert list(names) == sorted(names, key=lambda name: distances[name])
            wins[contest.winner] += 1
            parts.update({name: 1 / len(names) for name in names})  # type: ignore[arg-type]
    assert set(wins) == {"milk", "butter", "ketchup"}
    assert all(abs(wins[name] - parts[name]) < 4 * np.sqrt(parts[name]) for name in wins)


def test_no_contest_without_rivals_that_can_win() -> None:
    rng = np.random.default_rng(0)
    always = [(case, {"milk": 0.1, "basket": 0.5}) for case in range(5)]
    assert fair_contest(always, most=4, lead=0.05, rng=rng) is None
    assert fair_contest([(0, {"milk": 0.1})], most=4, lead=0.05, rng=rng) is None
    assert fair_contest([], most=4, lead=0.05, rng=rng) is None
