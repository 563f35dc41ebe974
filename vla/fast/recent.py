"""A bounded store of what is expensive to make: the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class Recent[Key, Value]:
    """At most `size` values by key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of `key`, made where it is not there."""
        if key not in self._values:
            if len(self._values) == self._size:
                self._values.popitem(last=False)
            self._values[key] = make()
        self._values.move_to_end(key)
        return self._values[key]
