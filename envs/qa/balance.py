"""Keeps answers from being guessed by name: in the long run every candidate is right as often as it is wrong.

A scene has habits (the basket is large, so it is often near), and a model would learn them instead of looking. Of the
items that name their candidates (`QAItem.contest`) those are taken that best make up for what was taken before, and
none that adds to a candidate's lead.
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
        """At most `count` of the items, none that lets a winner lead by more.

        As many of them have a contest as of the first `count` offered: the choice is among items of a kind.
        """
        taken: list[QAItem] = []
        waiting = list(items)
        for has_contest in [bool(item.contest) for item in items[:count]]:
            alike = [item for item in waiting if bool(item.contest) == has_contest]
            best = min(alike, key=self._tilt, default=None)
            if best is not None and self._tilt(best) <= 0:
                waiting = [item for item in waiting if item is not best]
                self._enter(best)
                taken.append(best)
        return taken

    def withdraw(self, items: Sequence[QAItem]) -> None:
        """Takes back items that were admitted but are not used."""
        for item in items:
            self._enter(item, sign=-1)

    def _tilt(self, item: QAItem) -> float:
        """The winner's lead over its rivals before the item; below zero where the item evens something out."""
        if not item.contest:
            return 0.0
        winner, *losers = (self._lead[item.family, name] for name in item.contest)
        return winner - sum(losers) / len(losers)

    def _enter(self, item: QAItem, *, sign: int = 1) -> None:
        for place, name in enumerate(item.contest):
            self._lead[item.family, name] += sign * (len(item.contest) - 1 if place == 0 else -1)
