"""Whether an answered box is that of a thing: it holds the thing, all its six sides touch it, it is no larger."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from qa_truth.case import answered_boxes, apart

ROUNDING, TURN = 0.0135, 0.027
"""What two decimals may move a corner by: m, and rad about the middle."""
SPARE = 1.25
"""Largest volume of an answered box, rounded, in volumes of the true one, each side 1 cm longer."""


def boxes_fit(case, *, moment, eye, in_view):
    """Asserts that an answer gives the box of every thing in view of the names that the question asks for.

    Args:
        case: the question.
        moment: what it is about.
        eye: whose axes the boxes are told in.
        in_view: the things of which more than a speck is seen.
    """
    answered = answered_boxes(case.answer)
    labels = sorted(label for label, _ in answered)
    assert sorted(set(labels)) == asked_for(case, moment), f"{labels} are answered"
    for label in set(labels):
        boxes = [box for name, box in answered if name == label]
        things = [thing for thing in moment.things.values() if thing.category == label]
        assert len(boxes) >= len([thing for thing in in_view if thing.category == label]), f"a {label} is missing"
        middles = eye.sees(np.array([moment.middle(thing) for thing in things]))
        gaps = np.linalg.norm(np.array([box[1].middle for box in boxes])[:, None] - middles, axis=-1)
        for row, column in zip(*linear_sum_assignment(gaps), strict=True):
            box_fits(boxes[row], moment=moment, thing=things[column], eye=eye)


def asked_for(case, moment):
    """The names that the question lists, longest first so that no name is found inside another."""
    line, found = case.question.splitlines()[-1], []
    for name in sorted({thing.category for thing in moment.things.values()}, key=len, reverse=True):
        if f"the {name}" in line:
            found.append(name)
            line = line.replace(f"the {name}", "")
    return sorted(found)


def box_fits(answered, *, moment, thing, eye):
    """Asserts that a box, as `box_of` gives it, is that of a thing."""
    (axes, box), truth = answered, moment.box(thing)
    slack = ROUNDING + TURN * truth.reach
    assert apart(box.middle, eye.sees(truth.middle)) < 0.0095, f"the middle of the {thing.name}"
    local = (eye.sees(moment.points(thing)) - box.middle) @ axes
    sides = np.array(box.sides)
    over = np.stack([-local.min(axis=0), local.max(axis=0)]) - sides / 2
    assert over.max() < slack, f"the {thing.name} sticks out by {over.max():.3f} m"
    assert over.min() > -slack, f"a side stands {-over.min():.3f} m off the {thing.name}"
    assert np.prod(sides) <= SPARE * np.prod(np.array(truth.sides) + 0.01), f"the box of the {thing.name} is too large"
    if not truth.is_round:
        gaps = np.linalg.norm(eye.sees(truth.corners)[:, None] - box.corners, axis=-1)
        assert gaps[linear_sum_assignment(gaps)].max() < slack, f"the corners of the {thing.name}"
