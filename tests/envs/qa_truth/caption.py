"""Sentences about one picture, each held against the state."""

import itertools
import re

import numpy as np

from qa_truth.case import SPECK, Case, apart, close, lens_is_told

PLACE = re.compile(r"The (.+) is in the (\w+) (\w+) of the picture, ([\d.]+) m from the camera\.")
NEIGHBOUR = re.compile(r"The (.+) is closest to the (.+), ([\d.]+) m from center to center\.")
OPENING = re.compile(r"The picture shows|In view are|There are (\d+) objects to see|Only")
ROWS, COLUMNS = ("upper", "central", "lower"), ("left", "middle", "right")


def check(case: Case) -> None:
    moment, camera = case.moment, case.camera
    lens_is_told(case, moment.eye(camera))
    told = {thing.category: thing for thing in case.things}
    assert all(moment.called(name) is thing for name, thing in told.items())
    for sentence in re.split(r"(?<=\.) (?=[A-Z])", case.answer):
        holds(sentence, moment, camera, told)


def holds(sentence, moment, camera, told):
    """Asserts one sentence."""
    place = moment.eye(camera).place
    away = {name: apart(moment.middle(thing), place) for name, thing in told.items()}
    if found := PLACE.fullmatch(sentence):
        close(float(found[4]), away[found[1]])
        lies_in(moment.mask(camera, told[found[1]]), found[2], found[3])
    elif found := NEIGHBOUR.fullmatch(sentence):
        is_neighbour(moment, camera, told[found[1]], told[found[2]], float(found[3]))
    elif sentence.startswith("From left to right: "):
        rises([moment.column(camera, told[name]) for name in listed(sentence, told)])
    elif sentence.startswith("By the distance of their centers from the camera, near to far: "):
        rises([away[name] for name in listed(sentence, told)])
    else:
        opening = OPENING.match(sentence)
        assert opening, sentence
        assert len(listed(sentence, told)) == len(told) == int(opening[1] or len(told)), sentence


def is_neighbour(moment, camera, one, other, metres):
    """Asserts that of all that is in view the other is nearest."""
    seen = [thing for thing in moment.wholes() if moment.pixels(camera, thing) > SPECK and thing != one]
    gaps = {thing.name: apart(moment.middle(thing), moment.middle(one)) for thing in seen}
    close(metres, gaps[other.name])
    nearest = min(gaps, key=gaps.get)
    assert nearest == other.name, f"the {nearest} is nearer to the {one.name} than the {other.name}"


def listed(sentence, told):
    """The names in a sentence, in its order."""
    places = {name: re.search(rf"the {re.escape(name)}(?=,| and the |\.| are | stays? )", sentence) for name in told}
    return sorted((name for name in told if places[name]), key=lambda name: places[name].start())


def rises(values):
    assert len(values) > 1
    assert all(a < b for a, b in itertools.pairwise(values)), values


def lies_in(mask, row, column):
    """Asserts the ninth of the picture in which the middle of a mask lies, to a pixel."""
    for word, places, words in zip((row, column), np.nonzero(mask), (ROWS, COLUMNS), strict=True):
        near = {words[min(2, int(3 * (places.mean() + shift) / len(mask)))] for shift in (0.0, 1.0)}
        assert word in near, f"{word} is told, {near} is true"
