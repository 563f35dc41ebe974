"""Freed memory goes back to the system."""

from __future__ import annotations

import psutil

from vst_vla.envs.heap import trim_heap


def test_holes_between_blocks_are_given_back() -> None:
    """Blocks too small for a mapping of their own, every second one freed in runs, leave holes that glibc keeps."""
    me = psutil.Process()
    blocks = [bytes(60_000) for _ in range(4_000)]
    kept = blocks[::100]  # so that the heap's end cannot simply move down
    full = me.memory_info().rss
    del blocks
    trim_heap()
    assert full - me.memory_info().rss > 150e6
    assert len(kept) == 40
