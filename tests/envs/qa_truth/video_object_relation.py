"""How things lie to each other at the start or end of a video: gaps between boxes, sides."""

import re

import numpy as np

from qa_truth.case import SPECK, Case, clockwise, close, lens_is_told, points_to

STEPS = 400


def check(case: Case) -> None:
    frame, things, form = case.frame, case.things, case.about["form"]
    assert min(frame.pixels(case.camera, thing) for thing in things) > SPECK
    case.named(*things)
    if form == "gap":
        lens_is_told(case, frame.eye(case.camera))
        close(float(case.answer), gap(*(frame.box(thing) for thing in things)))
    elif form == "nearest":
        anchor, *rivals = things
        assert re.search(rf"(?:nearest|smallest gap) to the {anchor.category}", case.question)
        gaps = {thing.category: gap(frame.box(anchor), frame.box(thing)) for thing in rivals}
        assert sorted(gaps) == sorted(case.options.values())
        right = gaps.pop(case.told)
        assert min(gaps.values()) - right > 0.028, f"leads by {min(gaps.values()) - right:.3f} m"
    else:
        start, ahead, goal = (frame.middle(thing) for thing in things)
        names = [thing.category for thing in things]
        phrases = (
            "is the {2} for somebody at the {0} who faces the {1}",
            "at the {0} and looking at the {1}, where is the {2}",
        )
        assert any(phrase.format(*names) in case.question for phrase in phrases)
        angle = clockwise(ahead - start, goal - start)
        assert points_to(angle, case.told, dial="sides"), f"{case.told} is told, {angle:.0f} degrees is true"


def gap(one, other):
    """Metres between the nearest points of two boxes: from one to the other and back, until neither moves."""
    here = one.middle
    for _ in range(STEPS):
        there = nearest_in(other, here)
        here = nearest_in(one, there)
    return float(np.linalg.norm(here - there))


def nearest_in(box, point):
    """The point (3,) of a box that is nearest to another."""
    corner, edges = box.corners[0], box.corners[[4, 2, 1]] - box.corners[0]
    return corner + np.clip((point - corner) @ edges.T / (edges**2).sum(axis=1), 0, 1) @ edges
