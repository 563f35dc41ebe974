"""Memory of a process tree over time."""

from __future__ import annotations

import time

import pytest

from vst_vla.scripts.memory import PeakMemory


def test_what_is_held_for_a_while_shows_in_the_peak_and_in_its_part_of_the_time() -> None:
    with PeakMemory(every_s=0.01) as memory:
        time.sleep(0.3)
        held = bytearray(b"x" * 300 * 2**20)
        time.sleep(0.3)
        del held
        time.sleep(0.3)
    first, middle, last = memory.medians_gib(3)
    assert middle - max(first, last) > 0.2
    assert memory.peak_gib >= middle


def test_the_parts_are_equal_and_in_order() -> None:
    memory = PeakMemory()
    assert memory.peak_gib == 0.0
    memory.seen_gib = [1.0, 1.0, 2.0, 4.0, 9.0, 9.0]
    assert memory.medians_gib(3) == pytest.approx([1.0, 3.0, 9.0])
