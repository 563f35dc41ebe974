"""A question with the moments that it is about, and what several checkers read out of either."""

import json
import re
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from qa_truth.things import Box

CENTIMETRE = 0.0055
"""Metres by which an answer in centimetres, or in metres with two decimals, may be off."""
SPECK = 3
"""Pixels up to which two drawings may disagree about what is in view."""
SIDES = ("front", "front right", "right", "back right", "back", "back left", "left", "front left")
COMPASS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")
CLOCK = tuple(f"{hour or 12} o'clock" for hour in range(12))
DIALS = {"sides": SIDES, "compass": COMPASS, "clock": CLOCK}
COLOURS = {
    "red": (255, 40, 40),
    "green": (40, 220, 60),
    "blue": (60, 110, 255),
    "yellow": (255, 225, 40),
    "magenta": (240, 60, 240),
}


@dataclass(frozen=True)
class Case:
    """An item and its moments: one, or those of a clip in order."""

    item: object
    moments: tuple

    @property
    def question(self):
        return self.item.question

    @property
    def answer(self):
        return self.item.answer

    @property
    def about(self):
        return self.item.about

    @property
    def moment(self):
        (only,) = self.moments
        return only

    @property
    def camera(self):
        return self.about["camera"]

    @property
    def cameras(self):
        return self.about["cameras"]

    @property
    def shown(self):
        """A video's moments in the order in which it shows them."""
        return [self.moments[number] for number in self.about["frames"]]

    @property
    def frame(self):
        """The moment of a video that the question is about, which it says."""
        when = self.about["moment"]
        assert re.search(rf"(the|its) {when}\b", self.question), f"the question is not about the {when}"
        return self.shown[0 if when == "start" else -1]

    @property
    def things(self):
        """What the question is about."""
        return [self.moments[0].thing(name) for name in self.about["objects"]]

    @property
    def told(self):
        """The answer in words: the option under its letter, if there are options."""
        return self.options.get(self.answer, self.answer)

    @property
    def options(self):
        """Letter -> option."""
        return dict(re.findall(r"^([A-F])\. (.+)$", self.question, re.MULTILINE))

    def named(self, *things):
        """Asserts that the question names the things, each by a name that no other whole thing has."""
        for thing in things:
            assert re.search(rf"\b{re.escape(thing.category)}\b", self.question), f"{thing.category} is not named"
            self.moments[0].called(thing.category)

    def point(self, mark, thing, *, moment, camera):
        """Asserts that a coloured point lies on the thing, is drawn, and is what the question speaks of."""
        assert moment.mask(camera, thing)[mark.row, mark.column], f"the {mark.name} point is not on the {thing.name}"
        assert tuple(self.item.images[mark.image][mark.row, mark.column]) == COLOURS[mark.name], "no point is drawn"
        assert re.search(rf"\b{mark.name}\b", self.question), f"{mark.name} is not spoken of"


def metres(answer):
    """A length with its unit."""
    number, unit = answer.split()
    return float(number) * {"m": 1.0, "cm": 0.01}[unit]


def close(found, expected, *, within=CENTIMETRE):
    assert abs(found - expected) <= within, f"{found:.4f} is told, {expected:.4f} is true"


def clockwise(ahead, vector):
    """Degrees in [0, 360) from one direction to another, seen from above."""
    (ax, ay), (bx, by) = ahead[:2], vector[:2]
    return float(np.degrees(np.arctan2(ay * bx - ax * by, ax * bx + ay * by)) % 360)


def points_to(angle, name, *, dial):
    """Whether an angle lies well inside the sector of that name."""
    width = 360 / len(DIALS[dial])
    return abs((angle - width * DIALS[dial].index(name) + 180) % 360 - 180) < 0.4 * width


def lens_is_told(case, eye):
    """Asserts that the question states the field of view."""
    told = float(re.search(r"horizontal field of view [a-z0-9 ]*?is ([\d.]+) degrees", case.question)[1])
    close(told, np.degrees(2 * np.arctan(eye.size / 2 / eye.focal)), within=0.051)


def apart(one, other):
    return float(np.linalg.norm(one - other))


def answered_boxes(answer):
    """(label, corners (8,3) and sides in the camera's axes) of every line of an answer."""
    lines = answer.splitlines()
    assert (lines[:2], lines[-2:]) == (["```json", "["], ["]", "```"]), answer
    return [(entry["label"], box_of(entry["bbox_3d"])) for entry in json.loads("\n".join(lines[1:-1]))]


def box_of(numbers):
    """The box that nine numbers mean: middle, sides, then turns about the fixed x, y, z axes in half turns."""
    middle, sides, turns = np.split(np.array(numbers), [3, 6])
    assert (np.abs(turns) <= 1).all(), numbers
    signs = np.stack(np.meshgrid(*[(-1, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    axes = Rotation.from_euler("xyz", 180 * turns, degrees=True).as_matrix()
    return axes, Box(middle + (signs * sides / 2) @ axes.T, tuple(sides), False)
