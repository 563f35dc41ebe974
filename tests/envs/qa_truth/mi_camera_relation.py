"""How the second camera stands to the first."""

import re

import numpy as np

from qa_truth.case import Case, apart, clockwise, close, metres, points_to

LEAD = 0.119
WORDS = {
    "side": "side|Seen from above|direction",
    "apart": "apart|distance",
    "turn": "degrees",
    "nearer": "closer|nearer",
    "higher": "higher",
}


def check(case: Case) -> None:
    moment, form = case.moment, case.about["form"]
    first, second = (moment.eye(camera) for camera in case.cameras)
    assert re.search(WORDS[form], case.question)
    if form == "side":
        angle = clockwise(first.forward, second.place - first.place)
        assert points_to(angle, case.told, dial="sides"), f"{case.told} is told, {angle:.0f} degrees is true"
    elif form == "apart":
        lenses_are_told(case, first, second)
        close(metres(case.answer), apart(first.place, second.place))
    elif form == "turn":
        assert "field of view" not in case.question, "the lenses tell which cameras these are"
        angle = np.degrees(np.arccos(first.forward @ second.forward))
        close(float(case.told), angle, within=0.51)
        assert sum(abs(float(option) - angle) < 0.2 * angle for option in case.options.values()) == 1
    else:
        leads(case, moment, first, second)


def leads(case, moment, first, second):
    """Asserts first or second: the higher, or the nearer to a thing."""
    if case.about["form"] == "higher":
        lead = first.place[2] - second.place[2]
    else:
        (thing,) = case.things
        case.named(thing)
        lenses_are_told(case, first, second)
        close(first.size / first.focal, second.size / second.focal)
        lead = apart(second.place, moment.middle(thing)) - apart(first.place, moment.middle(thing))
    assert abs(lead) > LEAD
    assert case.answer == ("first" if lead > 0 else "second"), f"the first leads by {lead:.3f} m"


def lenses_are_told(case, *eyes):
    """Asserts both fields of view, of which one number may stand for both."""
    told = [float(number) for number in re.findall(r"(?:is|of picture 2) ([\d.]+)(?: degrees)?[.,]", case.question)[:2]]
    for eye, number in zip(eyes, told * (3 - len(told)), strict=True):
        close(number, np.degrees(2 * np.arctan(eye.size / 2 / eye.focal)), within=0.051)
