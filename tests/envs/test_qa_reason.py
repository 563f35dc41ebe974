"""Reasonings read sentence by sentence: every number and direction is found anew from the scene, by other code."""

import dataclasses
import itertools
import re
from collections import Counter

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import FAMILIES, make_family
from vst_vla.envs.qa.stage import Shot, Stage

pytestmark = pytest.mark.sim
SIZE = 128
NAMES = ("reason_single", "reason_object_relation", "reason_camera_motion", "reason_camera_relation")
CLOCKWISE = {
    8: ["north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"],
    -8: ["front", "front right", "right", "back right", "back", "back left", "left", "front left"],
    12: [f"{hour or 12} o'clock" for hour in range(12)],
}
POINT = r"\((-?\d+\.\d\d), (-?\d+\.\d\d)\)"
ANGLE = r"(\d+) degrees?( clockwise| counterclockwise)?"


@pytest.fixture(scope="module")
def scenes():
    """Rearranged scenes of two suites, mirrored and physical by turns, each seen by four cameras."""
    made = []
    for suite in ("libero_object", "libero_spatial"):
        stage, rng = Stage(suite, task_id=0, assets=find_assets(suite)), np.random.default_rng(5)
        for number in range(2):
            shot = Shot(
                cameras=("agentview", "robot0_eye_in_hand"),
                extra_views=2,
                image_size=SIZE,
                mirror=number % 2 == 0,
                init_states=(20, 30),
            )
            made.append(stage.rearranged(shot, rng=rng))
        stage.close()
    return made


def ask(name, scenes, *, count=20, seed=0, **options):
    """(scene, item) pairs."""
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [(scene, item) for scene in scenes for item in family(scene, count=count, rng=rng)]


def named(text):
    """The names in "the milk, the butter and the basket"."""
    return re.split(r", the | and the ", text.removeprefix("the "))


class Reading:
    """One item's thought against its scene. Each method checks one kind of sentence."""

    def __init__(self, scene, item):
        self.scene, self.item = scene, item
        self.eyes = [np.linalg.inv(scene.world_to_camera[scene.cameras.index(n)]) for n in item.about["cameras"]]
        self.cameras = [scene.cameras.index(n) for n in item.about["cameras"]]
        self.number = {category: n for n, category in enumerate(scene.categories)}
        self.told, self.shown, self.found = {}, {}, Counter()
        self.ahead = self.toward = self.conclusion = None

    def true_place(self, name):
        """Where an object or camera is on the map: a turn of the world that takes the first view to +y."""
        if name.startswith("camera"):
            world = self.eyes[int(name[-1]) - 1 if name[-1].isdigit() else 0][:3, 3]
        else:
            world = self.scene.poses[self.number[name], :3, 3]
        return self.turned(world[:2] - self.eyes[0][:2, 3])

    def turned(self, vector):
        heading = np.arctan2(*self.eyes[0][:2, 2])  # from +y, clockwise
        return np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]]) @ vector[:2]

    def mask(self, place, name):
        return self.scene.mask(self.cameras[place], number=self.number[name])

    def row(self, picture, ordered, names, rest):
        place = int(picture or 1) - 1
        columns = [np.nonzero(self.mask(place, name))[1].mean() for name in named(names)]
        assert all(b - a > 0.03 * SIZE for a, b in itertools.pairwise(columns))
        assert bool(ordered) == (len(columns) > 1)
        self.shown[place] = named(names) + (named(rest) if rest else [])
        assert all(self.mask(place, name).sum() >= 16 for name in self.shown[place])

    def extreme(self, which, wording, name):
        place = max(self.shown)
        far = {n: np.linalg.norm(self.centre(place, n)) for n in self.shown[place]}
        least = which == "nearest" or wording == "Closest to"
        assert name == (min if least else max)(far, key=far.get)

    def centre(self, place, name):
        return self.scene.poses[self.number[name], :3, 3] - self.eyes[place][:3, 3]

    def shared(self, names, more):
        assert set(named((names or more).replace("The ", "the ", 1))) == set(self.shown[0]) & set(self.shown[1])

    def only(self, picture, names):
        place = int(picture) - 1
        assert all(self.mask(place, n).any() and not self.mask(1 - place, n).any() for n in named(names))

    def halves(self, name, before, after):
        for place, side in enumerate((before, after)):
            columns = np.nonzero(self.mask(place, name))[1]
            assert (columns.max() < SIZE / 2) if side == "left" else (columns.min() >= SIZE / 2)

    def steps(self, text):
        x, y = self.true_place("camera 2")
        truth = {"right": x, "left": -x, "ahead": y, "back": -y}
        truth["higher"] = self.eyes[1][2, 3] - self.eyes[0][2, 3]
        truth["lower"] = -truth["higher"]
        found = re.findall(r"([\d.]+) m (?:to the )?(right|left|ahead|back|higher|lower)", text)
        assert len(found) == text.count(" m ") >= 1
        for metres, word in found:
            assert float(metres) == pytest.approx(truth[word], abs=0.0051)

    def turn(self, text):
        x, y = self.turned(self.eyes[1][:2, 2])
        angle = np.degrees(np.arctan2(x, y))
        degrees = float(re.search(r"\d+", text)[0])
        assert abs(angle) == pytest.approx(degrees, abs=0.51)
        sides = ("right" in text, "left" in text)
        assert sides == ((False, False) if degrees in (0, 180) else (bool(angle > 0), bool(angle < 0)))

    def tilt(self, *words, steep=None):
        for place, (sense, degrees) in enumerate(zip(words[::2], words[1::2], strict=True)):
            x, y, z = self.eyes[place][:3, 2]
            down = np.degrees(np.arctan2(-z, np.hypot(x, y)))
            assert down * (1 if sense == "down" else -1) == pytest.approx(float(degrees), abs=0.51)

    def map(self, text):
        for name, x, y in re.findall(rf"the ([a-z0-9 ]+?) at {POINT}", text):
            assert (float(x), float(y)) == pytest.approx(tuple(self.true_place(name)), abs=0.0051)
            self.told[name] = np.array([float(x), float(y)])
        assert {self.scene.names[self.number[n]] for n in self.told if "camera" not in n} == set(
            self.item.about["mapped"]
        )
        assert ("camera of picture 2" in self.told) == (len(self.eyes) == 2)

    def way(self, one, other, x, y):
        step = np.array([float(x), float(y)])
        np.testing.assert_allclose(step, self.told[other] - self.told[one], atol=1e-6)
        if self.ahead is None:
            self.ahead = step
        else:
            self.toward = step

    def direction(self, degrees, sense, name):
        cross = self.ahead[0] * self.toward[1] - self.ahead[1] * self.toward[0]
        left = np.degrees(np.arctan2(cross, self.ahead @ self.toward))
        assert abs(left) == pytest.approx(float(degrees), abs=0.51)
        senses = {True: "clockwise", False: "counterclockwise"}
        assert (sense or "").strip() == ("" if degrees in ("0", "180") else senses[bool(left < 0)])
        dial = next(words for words in CLOCKWISE.values() if name in words)
        sector = 360 / len(dial)
        assert abs((-left - sector * dial.index(name) + 180) % 360 - 180) < sector / 2
        self.conclusion = name

    def distances(self, text):
        gaps = {
            name: float(metres) for metres, name in re.findall(r"([\d.]+) m to the ([a-z0-9 ]+?)(?:,| and|$)", text)
        }
        assert len(gaps) >= 2
        for name, metres in gaps.items():
            truth = np.linalg.norm(self.true_place(name) - self.true_place(self.anchor))
            assert metres == pytest.approx(truth, abs=0.016)
        self.gaps = gaps

    def origin(self, name, x, y):
        assert (float(x), float(y)) == tuple(self.told[name])
        self.anchor = name

    def best(self, which, name):
        assert name == (min if which == "smallest" else max)(self.gaps, key=self.gaps.get)
        self.conclusion = name

    def length(self, metres):
        assert float(metres) == pytest.approx(np.linalg.norm(self.ahead), abs=0.0051)
        self.conclusion = f"{100 * float(metres):.0f}"

    def own_axes(self, text):
        step = (self.eyes[1][:3, 3] - self.eyes[0][:3, 3]) @ self.eyes[0][:3, :3]
        x, y, z = step
        truth = {"right": x, "left": -x, "down": y, "up": -y, "forward": z, "backward": -z}
        parts = [(float(m), word) for m, word in re.findall(r"([\d.]+) m (\w+)", text)]
        assert all(m == pytest.approx(truth[word], abs=0.0051) for m, word in parts)
        assert len(parts) == 3
        self.most = max(parts)[1]

    def most_of_it(self, word):
        assert word == self.most
        self.conclusion = word

    def camera_way(self, x, y, degrees, sense):
        self.ahead, self.toward = np.array([0.0, 1.0]), np.array([float(x), float(y)])
        np.testing.assert_allclose(self.toward, self.told["camera of picture 2"])
        self.angle = degrees, sense

    def camera_side(self, name, other):
        self.direction(*self.angle, name or other)

    def turned_to(self, degrees, word, answer):
        self.turn(f"{degrees} degrees to the {word}")
        assert word == answer
        self.conclusion = answer

    def tilted(self, before, after, answer):
        assert answer == ("more steeply" if int(after) > int(before) else "less steeply")
        self.tilt("down", before, "down", after)
        self.conclusion = answer

    def parts(self, *values):
        x, y = self.true_place("camera 2")
        truth = abs(np.array([x, y, self.eyes[1][2, 3] - self.eyes[0][2, 3]]))
        np.testing.assert_allclose([float(v) for v in values], truth, atol=0.0051)

    def root(self, metres):
        truth = np.linalg.norm(self.eyes[1][:3, 3] - self.eyes[0][:3, 3])
        assert float(metres) == pytest.approx(truth, abs=0.0051)
        self.conclusion = {"m": f"{float(metres):.2f} m", "cm": f"{100 * float(metres):.0f} cm"}[
            self.item.about["unit"]
        ]

    def looks(self, first, second):
        for eye, text in zip(self.eyes, (first, second), strict=True):
            told = [float(v) for v in text.split(", ")]
            np.testing.assert_allclose(told, [*self.turned(eye[:2, 2]), eye[2, 2]], atol=0.0051)

    def cosine(self, cosine, degrees):
        truth = self.eyes[0][:3, 2] @ self.eyes[1][:3, 2]
        assert float(cosine) == pytest.approx(truth, abs=0.02)
        assert float(degrees) == pytest.approx(np.degrees(np.arccos(truth)), abs=0.51)
        self.conclusion = degrees

    def apart_from(self, picture, level, height, name, total):
        away = self.centre(int(picture) - 1, name)
        assert float(level) == pytest.approx(np.hypot(*away[:2]), abs=0.016)
        assert float(height) == pytest.approx(abs(away[2]), abs=0.0051)
        assert float(total) == pytest.approx(np.linalg.norm(away), abs=0.02)
        self.totals = [*getattr(self, "totals", []), float(total)]

    def shorter(self, answer):
        assert answer == ("first" if self.totals[0] < self.totals[1] else "second")
        self.conclusion = answer

    def height(self, metres, word, answer):
        rise = self.eyes[1][2, 3] - self.eyes[0][2, 3]
        assert float(metres) == pytest.approx(abs(rise), abs=0.0051)
        assert (word, answer) == (("higher", "second") if rise > 0 else ("lower", "first"))
        self.conclusion = answer

    def answer(self, *words):
        options = dict(re.findall(r"^([A-F])\. (.+)$", self.item.question, re.MULTILINE))
        final = self.item.answer.rpartition("</think>")[2]
        assert options.get(final, final) == self.conclusion
        assert final in words
        assert options.get(final, final) in words

    def frame(self):
        """A sentence that only names the frame of reference."""


N = r"the ([a-z0-9 ]+?)"
START = r"(?:Whoever stands at |From |North is the way from |12 o'clock is the way from |The way from )"
PLAN = "Only the plan counts, not the heights: from "
NORTH = r"(?:, and this is (?:north|12 o'clock)|, which is straight ahead here)?"
LEADS = (", so the (?:direction|side)", "; at 30 degrees an hour, the nearest hour")
FRAMES = (
    "The frame of reference is the camera of picture 1, whose own axes are tilted against the map.",
    "12 o'clock is where picture 1 looks, (0.00, 1.00) on the map.",
    "What counts is the direction of view on the map, not where the camera stands.",
    "What counts is the angle below the horizon, not the height of the camera.",
    "The viewer of picture 1 stands at (0.00, 0.00) and faces (0.00, 1.00).",
    "Take directions as right, ahead and up on this map.",
    "Only the heights count, whatever the directions of view.",
)
SENTENCES = {
    "row": r"(?:Looking at |In )?(?:[Tt]he )?[Pp]icture(?: (\d))?(?: shows|:|,)?,?(?: going)?"
    r"(?: (from left to right))?,?(?: there are| I see)? (the .+?)(?:; I also see (the .+))?\.",
    "extreme": r"(?:The (nearest|farthest) of these|(Closest to|Most distant from) the camera among them): the (.+)\.",
    "shared": r"(?:Both pictures show (.+)|(The .+) can be found in both pictures, which ties them together)\.",
    "only": r"Only picture (\d) shows (.+)\.",
    "halves": r"The (.+) can be found in the (left|right) half of picture 1 and in the (left|right) half of "
    r"picture 2\.",
    "steps": r"(?:Compared with picture 1, picture 2 was taken from|Seen from the camera of picture 1, that of "
    r"picture 2 stands) (.+)\.",
    "turn": r"From picture 1 to picture 2 the direction of view turns (.+)\.",
    "tilt": r"The camera looks (up|down) by (\d+) degrees? in picture 1 and (up|down) by (\d+) degrees? in picture 2"
    r"(?:, too steeply to face anywhere)?\.",
    "map": r"((?:On one map from above|Seen from above, in meters|Let the camera(?: of picture 1)? be the origin).+)\.",
    "way": rf"(?:{START}|{PLAN}){N}(?: and faces| to) {N}(?: looks along| it is|: the direction| is) {POINT}"
    rf"(?: on the map)?{NORTH}\.",
    "direction": rf"That is {ANGLE} from (?:north|straight ahead|12 o'clock)(?:{'|'.join(LEADS)}) is (.+)\.",
    "origin": rf"Distances on this map count, measured from {N} at {POINT}\.",
    "distances": r"It is ([\d.]+ m to the .+)\.",
    "best": r"The (smallest|largest) of these is the way to the (.+)\.",
    "length": r"The length of that is ([\d.]+) m\.",
    "own_axes": r"Along these axes the camera went (.+)\.",
    "most_of_it": r"Most of the way leads (.+)\.",
    "camera_way": rf"(?:The camera went along|Picture 2 was taken at) {POINT}, {ANGLE} from (?:there|straight ahead)\.",
    "camera_side": r"(?:That side is called (.+)|At 30 degrees an hour, the nearest hour is (.+))\.",
    "turned_to": r"It turned (\d+) degrees? to the (right|left) as seen from above, so the camera turned "
    r"(right|left)\.",
    "tilted": r"It changes from (-?\d+) to (-?\d+) degrees, so picture 2 looks down (more steeply|less steeply)\.",
    "parts": r"Between the cameras there are ([\d.]+) m to the side, ([\d.]+) m along the view and ([\d.]+) m in "
    r"height\.",
    "root": r"The root of the sum of their squares is ([\d.]+) m\.",
    "looks": r"Picture 1 looks along \((.+?)\) and picture 2 along \((.+?)\)\.",
    "cosine": r"The cosine of the angle between them is (-?[\d.]+), so the angle is (\d+) degrees\.",
    "apart_from": rf"From the camera of picture (\d) it is ([\d.]+) m on the level and ([\d.]+) m in height to {N}, "
    r"([\d.]+) m in all\.",
    "shorter": r"The (first|second) is the shorter way\.",
    "height": r"The camera of picture 2 is ([\d.]+) m (higher|lower) than that of picture 1, so the (first|second) is "
    r"higher\.",
    "frame": "|".join(map(re.escape, FRAMES)),
    "answer": r"(?:So the answer is|Hence the answer:|I answer|That is option|The option that says) "
    r"(.+?)(?:(?:,| is) (.+))?\.",
}


def read(scene, item):
    """Checks every sentence of a thought; returns how often each kind came up."""
    thought = re.fullmatch(r"<think>(.+)</think>.+", item.answer)[1]
    reading, kinds = Reading(scene, item), Counter()
    for sentence in re.split(r"(?<=\.) (?=[A-Z1])", thought):
        kind = next((k for k, pattern in SENTENCES.items() if re.fullmatch(pattern, sentence)), None)
        assert kind, f"nobody checks: {sentence}"
        groups = re.fullmatch(SENTENCES[kind], sentence).groups()
        getattr(reading, kind)(*groups)
        kinds[kind] += 1
    assert kinds["map"] == kinds["answer"] == 1
    assert kinds["row"] == len(item.images)
    return kinds


@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_of_a_thought_is_true(scenes, name):
    pairs = ask(name, scenes)
    assert len(pairs) >= 40
    kinds = sum((read(scene, item) for scene, item in pairs), Counter())
    assert {item.about["form"] for _, item in pairs} >= {
        "reason_single": {"compare", "apart", "letters", "word"},
        "reason_object_relation": {"letters", "word"},
        "reason_camera_motion": {"move", "clock", "turn", "tilt"},
        "reason_camera_relation": {"side", "apart", "turn", "nearer", "higher"},
    }[name]
    if name != "reason_single":
        assert min(kinds[k] for k in ("extreme", "shared", "only", "halves", "steps", "turn", "tilt")) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_a_thought_comes_with_what_it_needs(scenes, name):
    for scene, item in ask(name, scenes, count=6):
        assert item.thinking
        assert (item.family, item.level) == (name, "L3")
        silent = {"side", "turn", "higher"}  # of cameras: a lens tells which one took a picture
        names_lens = name != "reason_camera_relation" or item.about["form"] not in silent
        assert ("horizontal field of view" in item.question) == names_lens
        assert item.to_record(name="a", data_source="b")["type"] == "thought_mm_qa"
        assert set(item.about["mapped"]) <= set(scene.names)
        assert item.contest == () or item.words in item.contest[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_family_is_a_function_of_scene_and_generator(scenes, name):
    once, again = (ask(name, scenes[:2], count=5, seed=5) for _ in range(2))
    assert [(i.question, i.answer) for _, i in once] == [(i.question, i.answer) for _, i in again]
    assert [i.question for _, i in once] != [i.question for _, i in ask(name, scenes[:2], count=5, seed=6)]
    for _, item in ask(name, scenes[:2], count=5, short_prompt=True):
        assert "\n" not in item.question


def test_wordings_vary(scenes):
    thoughts = [item.answer for name in NAMES for _, item in ask(name, scenes, count=10)]
    openings = Counter(re.sub(r"the [a-z ]+|\d", "", thought)[:30] for thought in thoughts)
    assert len(openings) >= 3
    assert max(openings.values()) < 0.6 * len(thoughts)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_see_gives_no_items(scenes, name):
    empty = dataclasses.replace(
        scenes[0], instances=np.zeros_like(scenes[0].instances), visible=np.zeros_like(scenes[0].visible)
    )
    assert ask(name, [empty]) == []


def test_a_false_number_is_noticed(scenes):
    scene, item = ask("reason_object_relation", scenes, count=3)[0]
    poses = scene.poses.copy()
    poses[:, 0, 3] *= 1.1
    moved = dataclasses.replace(scene, poses=poses)
    with pytest.raises(AssertionError):
        read(moved, item)
    assert FAMILIES[item.family].level == item.level
