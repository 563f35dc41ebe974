"""Memory of a process tree over time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vst_vla.scripts.memory import PeakMemory

# In a process of its own: what earlier tests started may still be ending below this one.
WATCH_AN_ALLOCATION = """
import json, time
from vst_vla.scripts.memory import PeakMemory

with PeakMemory(every_s=0.01) as memory:
    time.sleep(0.5)
    held = bytearray(b"x" * 300 * 2**20)  # pages never written to would not be resident
    time.sleep(0.5)
    del held
    time.sleep(0.5)
print(json.dumps([*memory.medians_gib(3), memory.peak_gib]))
"""


def test_what_is_held_for_a_while_shows_in_the_peak_and_in_its_part_of_the_time() -> None:
    ran = subprocess.run([sys.executable, "-c", WATCH_AN_ALLOCATION], check=True, capture_output=True)
    first, middle, last, peak = json.loads(ran.stdout)
    assert middle - max(first, last) > 0.2
    assert peak >= middle


def test_the_parts_are_equal_and_in_order() -> None:
    memory = PeakMemory()
    assert memory.peak_gib == 0.0
    memory.seen_gib = [1.0, 1.0, 2.0, 4.0, 9.0, 9.0]
    assert memory.medians_gib(3) == pytest.approx([1.0, 3.0, 9.0])
