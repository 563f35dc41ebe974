"""Peak memory of this process and everything it starts."""

from __future__ import annotations

import threading

import psutil


class PeakMemory:
    """A context in which the resident memory of the process tree is watched twice a second.

    Pages shared between processes count once for each, so the figure is an upper bound.
    """

    def __init__(self, *, every_s: float = 0.5) -> None:
        self.peak_gib = 0.0
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            self.peak_gib = max(self.peak_gib, tree_rss_gib())


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
