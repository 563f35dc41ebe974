"""Sentences about a video, each held against the states."""

import re

from qa_truth.caption import listed, rises
from qa_truth.case import SPECK, Case, apart, close, lens_is_told

MOVED = re.compile(r"(The|One) (.+) is moved (.+), ([\d.]+) m in a straight line from its first place to its last\.")
HELD = re.compile(r"At the (start|end), the gripper holds (.+)\.")
OPENING = re.compile("The video shows|In the scene there are|A robot works among")
AXES = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1), "towards": (2, -1), "away": (2, 1)}


def check(case: Case) -> None:
    first, camera = case.shown[0], case.camera
    lens_is_told(case, first.eye(camera))
    told = {thing.category: thing for thing in case.things}
    for sentence in re.split(r"(?<=\.) (?=[A-Z])", case.answer):
        names = listed(sentence.replace("The ", "the "), told)
        if found := MOVED.fullmatch(sentence):
            hidden = (case.moments[0].thing(name) for name in case.about["hidden"])
            is_moved(found, case, (told | {thing.category: thing for thing in hidden})[found[2]])
        elif found := HELD.fullmatch(sentence):
            held = case.shown[0 if found[1] == "start" else -1].held()
            true = sorted(case.moments[0].thing(name).category for name in held) or ["nothing"]
            assert sorted(re.split(", the | and the ", found[2].removeprefix("the "))) == true, f"{true} is held"
        elif sentence.startswith("At the start, from left to right: "):
            assert len(names) == 1 or rises([first.column(camera, told[name]) for name in names]) is None
        elif re.search("stays? in place", sentence):
            assert names
            assert max(travel(case, told[name]) for name in names) < 0.0101
        else:
            assert OPENING.match(sentence), sentence
            assert len(names) == len(told)
            assert min(m.pixels(camera, told[name]) for name in names for m in (first, case.shown[-1])) > SPECK


def travel(case, thing):
    return apart(case.shown[0].middle(thing), case.shown[-1].middle(thing))


def is_moved(found, case, thing):
    """Asserts how far, and each direction in the axes of the camera, which stands still."""
    eye = case.shown[0].eye(case.camera)
    step = eye.sees(case.shown[-1].middle(thing)) - eye.sees(case.shown[0].middle(thing))
    close(float(found[4]), travel(case, thing))
    words = re.findall("|".join(AXES), found[3])
    assert words
    for axis, sign in (AXES[word] for word in words):
        assert sign * step[axis] > 0.049 or (len(words) == 1 and sign * step[axis] == max(abs(step)))
