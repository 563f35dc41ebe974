"""How the camera moved from the first picture to the second."""

import re

import numpy as np

from qa_truth.case import Case, clockwise, points_to

MOVES = {"right": (0, 1), "left": (0, -1), "down": (1, 1), "up": (1, -1), "forward": (2, 1), "backward": (2, -1)}
"""Word -> axis of the camera, sign."""
WORDS = {"move": "direction|way|motion", "clock": "12 o'clock", "turn": "turn", "tilt": "steeply"}


def check(case: Case) -> None:
    form = case.about["form"]
    first, second = (case.moment.eye(camera) for camera in case.cameras)
    assert abs(first.focal - second.focal) < 1e-6, "one camera has one lens"
    assert re.search(WORDS[form], case.question)
    if form == "move":
        moved(case.told, first, second)
        return
    if form == "clock":
        angle = clockwise(first.forward, second.place - first.place)
        assert points_to(angle, case.told, dial="clock"), f"{case.told} is told, {angle:.0f} degrees is true"
        return
    turn = clockwise(first.forward, second.forward)
    slope = np.degrees(np.arcsin(first.forward[2]) - np.arcsin(second.forward[2]))
    if form == "turn":
        assert 14.9 < turn < 345.1
        assert case.answer == ("right" if turn < 180 else "left"), f"{turn:.0f} degrees"
    else:
        assert abs(slope) > 7.9
        assert case.answer == ("more steeply" if slope > 0 else "less steeply"), f"{slope:.0f} degrees"


def moved(word, first, second):
    """Asserts the axis of the first camera along which it went most, by far."""
    axis, sign = MOVES[word]
    steps = first.sees(second.place) * sign
    others = np.abs(np.delete(steps, axis))
    assert steps[axis] > 1.29 * others.max(), f"{word} by {steps[axis]:.3f} m, along another axis by {others.max():.3f}"
