"""Points drawn on pictures: each name in a colour of its own."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from vst_vla.envs.qa.base import Mark
from vst_vla.envs.qa.marks import COLOURS, LABEL_COLOURS, draw_marks


@pytest.mark.parametrize(("name", "colour"), [("A", "A1"), ("3", "C3"), ("F", "F6")])
def test_a_point_with_a_label_has_the_label_s_colour(name: str, colour: str) -> None:
    blank = np.full((128, 128, 3), 90, np.uint8)
    drawn = draw_marks(blank, marks=[Mark(name, 64, 40)])
    assert tuple(drawn[64, 40]) == LABEL_COLOURS[colour]
    assert (blank == 90).all()
    beside = (drawn != 90).any(2)[:, 48:]
    assert beside.sum() > 30, "the label"


def test_a_point_of_a_colour_s_name_has_no_label() -> None:
    drawn = draw_marks(np.full((128, 128, 3), 90, np.uint8), marks=[Mark("blue", 64, 40)])
    assert tuple(drawn[64, 40]) == COLOURS["blue"]
    assert not (drawn != 90).any(2)[:, 48:].any()


def test_no_two_colours_are_alike() -> None:
    for one, other in combinations([*COLOURS.values(), *LABEL_COLOURS.values()], 2):
        assert np.abs(np.subtract(one, other)).max() >= 70, (one, other)
