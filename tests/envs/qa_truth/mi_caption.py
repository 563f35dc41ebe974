"""Sentences about two pictures, each held against the state."""

import re

from qa_truth.case import SPECK, Case, apart, clockwise, close, points_to
from qa_truth.mi_camera_relation import lenses_are_told

RELATION = re.compile(
    r"For the viewer of picture 1, the (.+?) is (to the .+|nearer.+|farther.+) the (.+), ([\d.]+) m from .+\."
)
GAP = re.compile(r"The (.+) and the (.+) are ([\d.]+) m apart from center to center\.")
CAMERAS = re.compile(
    r"Picture 2 was taken ([\d.]+) m from where picture 1 was taken(?:, on the (.+) side of its viewer)?\."
)
SHARED = re.compile(r"Both pictures show (.+)\.|Both views contain (.+)\.|The two views share (.+)\.")
ONLY = re.compile(r"Only picture (\d) shows (.+)\.")


def check(case: Case) -> None:
    moment = case.moment
    eyes = [moment.eye(camera) for camera in case.cameras]
    lenses_are_told(case, *eyes)
    for sentence in re.split(r"(?<=\.) (?=[A-Z])", case.answer):
        if found := CAMERAS.fullmatch(sentence):
            cameras_stand(found, *eyes)
        elif found := RELATION.fullmatch(sentence):
            is_beside(found, moment, eyes[0])
        elif found := GAP.fullmatch(sentence):
            close(float(found[3]), apart(*(moment.middle(moment.called(name)) for name in found.group(1, 2))))
        else:
            contents(sentence, moment, case.cameras)


def contents(sentence, moment, cameras):
    """Asserts what both pictures show, or what one shows alone."""
    only, shared = ONLY.fullmatch(sentence), SHARED.fullmatch(sentence)
    assert only or shared, sentence
    words = only[2] if only else next(filter(None, shared.groups()))
    for name in re.split(r", the | and the ", words.removeprefix("the ")):
        pixels = [moment.pixels(camera, moment.called(name)) for camera in cameras]
        here, there = pixels if only is None or only[1] == "1" else pixels[::-1]
        assert here > SPECK
        assert there <= SPECK if only else there > SPECK, f"{name}: {pixels} pixels"


def cameras_stand(found, first, second):
    close(float(found[1]), apart(first.place, second.place))
    assert not found[2] or points_to(clockwise(first.forward, second.place - first.place), found[2], dial="sides")


def is_beside(found, moment, eye):
    """Asserts a relation in the first camera's axes, and left and right in its picture as well."""
    one, other = (eye.sees(moment.middle(moment.called(name))) for name in found.group(1, 3))
    close(float(found[4]), apart(one, other))
    words = found[2]
    if "left" in words or "right" in words:
        sign = 1 if "right" in words else -1
        assert sign * (one[0] - other[0]) > 0.049
        assert sign * (one[0] / one[2] - other[0] / other[2]) > 0
    if "nearer" in words or "farther" in words:
        assert (1 if "farther" in words else -1) * (one[2] - other[2]) > 0.049
