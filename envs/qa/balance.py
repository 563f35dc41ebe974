"""Keeps answers from being guessed by name: in the long run every candidate is right as often as it is wrong.

A scene has habits (the basket is large, so it is often near), and a model would learn them instead of looking. Items
that name their candidates (`QAItem.contest`) are taken only while that does not add to a candidate's lead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vst_vla.envs.qa.base import QAItem


class Ledger:
    """Wins less losses of every candidate of every family, in expected units.

    Of n candidates the right one gains n - 1 and each other loses 1, so that guessing blindly keeps all at zero.
    """

    def __init__(self) -> None:
        self._lead: Counter[tuple[str, str]] = Counter()

    def admit(self, items: Sequence[QAItem], *, count: int) -> list[QAItem]:
        """At most `count` of the items, none that lets a winner lead by more."""
        taken: list[QAItem] = []
        for item in items:
            if len(taken) < count and self._fits(item):
                self._enter(item)
                taken.append(item)
        return taken

    def withdraw(self, items: Sequence[QAItem]) -> None:
        """Takes back items that were admitted but are not used."""
        for item in items:
            self._enter(item, sign=-1)

    def _fits(self, item: QAItem) -> bool:
        if not item.contest:
            return True
        winner, *losers = (self._lead[item.family, name] for name in item.contest)
        return winner <= sum(losers) / len(losers)

    def _enter(self, item: QAItem, *, sign: int = 1) -> None:
        for place, name in enumerate(item.contest):
            self._lead[item.family, name] += sign * (len(item.contest) - 1 if place == 0 else -1)
