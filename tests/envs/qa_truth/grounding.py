"""The one thing that a phrase means, and its box."""

import re

import numpy as np

from qa_truth.case import SPECK, Case, answered_boxes, apart
from qa_truth.fitting import box_fits

LEAD = 0.029


def check(case: Case) -> None:
    moment, camera = case.moment, case.camera
    eye, (target,) = moment.eye(camera), case.things
    ((label, box),) = answered_boxes(case.answer)
    assert label == target.category
    box_fits(box, moment=moment, thing=target, eye=eye)
    phrase = case.about["phrase"]
    assert phrase in case.question
    if found := re.search(r"with the (\w+) point", phrase):
        (mark,) = case.item.marks
        assert mark.name == found[1]
        case.point(mark, target, moment=moment, camera=camera)
        return
    seen = [thing for thing in moment.wholes() if moment.pixels(camera, thing) > SPECK]
    assert target in seen
    values = {thing.name: value(phrase, moment, camera, thing) for thing in seen if not is_anchor(phrase, thing)}
    ahead = values.pop(target.name) - max(values.values())
    assert ahead > (1.0 if "left" in phrase or "right" in phrase else LEAD), f"{phrase}: leads by {ahead:.3f}"


def is_anchor(phrase, thing):
    return f"closest to the {thing.category}, center" in phrase


def value(phrase, moment, camera, thing):
    """What the phrase says is largest."""
    if anchor := re.search(r"closest to the (.+), center to center", phrase):
        return -apart(moment.middle(thing), moment.middle(moment.called(anchor[1])))
    if "left" in phrase or "right" in phrase:
        return (-1 if "left" in phrase else 1) * moment.column(camera, thing)
    if "camera" in phrase:
        far = apart(moment.middle(thing), moment.eye(camera).place)
        return far if "farthest" in phrase or "distant" in phrase else -far
    assert "reaches highest" in phrase, phrase
    return float(np.max(moment.box(thing).corners[:, 2]))
