"""What a policy server puts up with: sizes, rates, connections, and who may connect."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

LOOPBACK = ("127.0.0.1", "::1", "localhost")
KEY_SCHEME = "Api-Key"


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Limits of a policy server.

    Args:
        max_message_mib: largest request in MiB; two pictures of 224 pixels take 0.3.
        max_connections: clients at once.
        max_rate: requests a second of one client, on average.
        burst: requests that a client may send at once before the rate counts.
        max_batch: observations in one forward pass.

    Raises:
        ValueError: for a limit that lets nothing through.
    """

    max_message_mib: float = 16.0
    max_connections: int = 64
    max_rate: float = 200.0
    burst: int = 50
    max_batch: int = 16

    def __post_init__(self) -> None:
        for name in ("max_message_mib", "max_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        for name in ("max_connections", "burst", "max_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")

    @property
    def max_message_bytes(self) -> int:
        """The largest request in bytes."""
        return int(self.max_message_mib * 2**20)


class TokenBucket:
    """A rate with room for a burst: full at the start, each request takes one, and it fills at the rate.

    Args:
        rate: requests a second.
        burst: what the bucket holds.
        now: seconds of a monotonic clock.
    """

    def __init__(self, *, rate: float, burst: int, now: float) -> None:
        self._rate, self._burst = rate, float(burst)
        self._level, self._at = float(burst), now

    def take(self, *, now: float) -> bool:
        """Whether one more request fits."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


def authorised(header: str | None, *, key: str | None) -> bool:
    """Whether an Authorization header holds the key, compared in constant time. Without a key, everyone is let in."""
    if key is None:
        return True
    return hmac.compare_digest((header or "").encode(), f"{KEY_SCHEME} {key}".encode())
