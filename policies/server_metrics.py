"""Counts and timings of a policy server in Prometheus' text format, version 0.0.4."""

from __future__ import annotations

import bisect
import threading
from collections import Counter

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Histogram:
    """How often a value fell at or below each bound, with sum and count."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """The histogram's lines, its buckets cumulative as Prometheus has them."""
        lines, total = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.9g}", f"{name}_count {total}"]


class ServerMetrics:
    """Everything that `/metrics` shows. Counted from the event loop and from the inference thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections = 0
        self._requests: Counter[str] = Counter()
        self._turned_away: Counter[str] = Counter()
        self._request_s, self._infer_s = Histogram(SECONDS), Histogram(SECONDS)
        self._batch = Histogram(SIZES)

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return self._connections

    def connected(self, change: int) -> None:
        """One client came (+1) or went (-1)."""
        with self._lock:
            self._connections += change

    def turned_away(self, reason: str) -> None:
        """A connection was refused before it opened."""
        with self._lock:
            self._turned_away[reason] += 1

    def answered(self, result: str, *, seconds: float) -> None:
        """One request ended as `ok`, `refused` (the client's mistake) or `failed` (ours), from received to sent."""
        with self._lock:
            self._requests[result] += 1
            self._request_s.add(seconds)

    def inferred(self, *, batch: int, seconds: float) -> None:
        """One forward pass over `batch` observations."""
        with self._lock:
            self._batch.add(batch)
            self._infer_s.add(seconds)

    def render(self) -> str:
        """The page."""
        with self._lock:
            blocks = [
                _block("connections", "gauge", "clients connected now", [f"vst_vla_connections {self._connections}"]),
                _counts("requests_total", "requests by result", "result", self._requests),
                _counts("turned_away_total", "connections refused by reason", "reason", self._turned_away),
                _histogram("request_seconds", "from a request received to its reply sent", self._request_s),
                _histogram("inference_seconds", "one forward pass", self._infer_s),
                _histogram("batch_size", "observations in a forward pass", self._batch),
            ]
        return "\n".join(line for block in blocks for line in block) + "\n"


def _block(name: str, kind: str, what: str, lines: list[str]) -> list[str]:
    return [f"# HELP vst_vla_{name} {what}", f"# TYPE vst_vla_{name} {kind}", *lines]


def _counts(name: str, what: str, label: str, counts: Counter[str]) -> list[str]:
    lines = [f'vst_vla_{name}{{{label}="{value}"}} {count}' for value, count in sorted(counts.items())]
    return _block(name, "counter", what, lines)


def _histogram(name: str, what: str, histogram: Histogram) -> list[str]:
    return _block(name, "histogram", what, histogram.lines(f"vst_vla_{name}"))
