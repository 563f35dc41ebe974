"""How many of a kind, of a list, or to one side of another a video shows."""

import re

from qa_truth.case import Case

CLEAR = 40
"""Pixels from which on something counts as shown."""


def check(case: Case) -> None:
    about, camera, count = case.about, case.camera, int(case.answer)
    if about["form"] == "side":
        frame, (anchor, *rivals) = case.frame, case.things
        case.named(anchor, *rivals)
        found = re.search(
            r"to the (left|right) of the (.+?) in the|farther (left|right) in the picture than the (.+?)\?",
            case.question,
        )
        side, name = filter(None, found.groups())
        assert name == anchor.category
        steps = [frame.column(camera, thing) - frame.column(camera, anchor) for thing in rivals]
        assert min(map(abs, steps)) > 0.049 * frame.world.size
        assert count == sum(step > 0 if side == "right" else step < 0 for step in steps), steps
        return
    assert all(name in case.question for name in about["asked"])
    total = 0
    for name in about["asked"]:
        things = [thing for thing in case.moments[0].wholes() if thing.category == name]
        for thing in things:
            most = max(moment.pixels(camera, thing) for moment in case.shown)
            assert most == 0 or most >= CLEAR, f"{most} pixels of the {name}"
            total += most > 0
    assert count == total, f"{total} are shown"
