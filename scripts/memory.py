"""Memory of this process and everything it starts, over time."""

from __future__ import annotations

import statistics
import threading
from itertools import pairwise

import psutil


class PeakMemory:
    """A context in which the resident memory of the process tree is watched twice a second.

    Pages shared between processes count once for each, so the figures are upper bounds.

    Attributes:
        seen_gib: what was seen, in the order of time.
    """

    def __init__(self, *, every_s: float = 0.5) -> None:
        self.seen_gib: list[float] = []
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_gib(self) -> float:
        """The highest so far, 0 before anything was seen."""
        return max(self.seen_gib, default=0.0)

    def medians_gib(self, parts: int) -> list[float]:
        """The median of each of so many equal parts of the time, of which each must have been looked at."""
        count = len(self.seen_gib)
        bounds = [count * part // parts for part in range(parts + 1)]
        return [statistics.median(self.seen_gib[start:end]) for start, end in pairwise(bounds)]

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self.seen_gib.append(tree_rss_gib())


def tree_rss_gib() -> float:
    """Resident memory of this process and its descendants now, in GiB."""
    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:  # ended between listing and reading
            continue
    return total / 2**30
