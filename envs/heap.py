"""The process's heap: what was freed goes back to the system.

A worker that draws and encodes for hours frees large and small blocks in turns, and glibc keeps the holes between them:
its resident memory creeps up although nothing is held. Trimming undoes that.
"""

from __future__ import annotations

import ctypes


def trim_heap() -> None:
    """Gives freed memory back, where the C library can (glibc's `malloc_trim`); elsewhere nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
