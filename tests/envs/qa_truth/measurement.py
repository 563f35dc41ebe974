"""Lengths of things that a point marks; none is named."""

import re

import numpy as np

from qa_truth.case import CENTIMETRE, Case, close, lens_is_told, metres

LEAN = 0.006
"""Metres by which a thing that leans by two degrees is taller than its box."""


def check(case: Case) -> None:
    moment, what = case.moment, case.about["what"]
    for mark, thing in zip(case.item.marks, case.things, strict=True):
        case.point(mark, thing, moment=moment, camera=case.camera)
    assert not any(f"the {thing.category}" in case.question for thing in moment.wholes())
    lens_is_told(case, moment.eye(case.camera))
    spoken = {"height": "tall|height|high", "longest": "longest|largest", "shortest": "shortest|smallest"}
    assert re.search(spoken.get(what, "taller|difference in height"), case.question)
    length_holds(case.things, moment, what, metres(case.answer))


def length_holds(things, moment, what, told):
    """Asserts a side, a height, or how much taller the first is."""
    if what in ("longest", "shortest"):
        sides = moment.box(things[0]).sides
        close(told, sides[0] if what == "longest" else sides[-1])
        return
    tall = [np.ptp(moment.points(thing)[:, 2]) for thing in things]
    close(told, tall[0] - (tall[1] if what == "taller" else 0.0), within=CENTIMETRE + LEAN)
