"""Quizzes about drawn points: every answer is found anew from depth pictures and camera poses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.directions import DIALS, SIDES
from vst_vla.envs.qa.marks import covers
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.vla.contracts import SceneState

pytestmark = pytest.mark.sim
SHOT = Shot(cameras=("agentview",), extra_views=2, image_size=128, mirror=True, init_states=tuple(range(20, 50)))
SINGLE = "nearer farther left right higher lower closer depth gap place turn compass clock sides"
DOUBLE = "match nearer far higher apart angle step turn tilt side"
TURNS = {"right": 90, "back": 180, "left": -90}
POINT = r"the (\w+) point"
Asked = tuple[SceneState, QAItem]


@pytest.fixture(scope="module")
def scenes() -> Iterator[list[SceneState]]:
    stage = Stage("libero_object", task_id=1, assets=find_assets("libero_object"))
    rng = np.random.default_rng(0)
    yield [stage.rearranged(SHOT, rng=rng) for _ in range(6)]
    stage.close()


def ask(name: str, scenes: list[SceneState], count: int = 12) -> list[Asked]:
    rng, family = np.random.default_rng(0), make_family(name, short_prompt=True)
    return [(scene, item) for scene in scenes for item in family(scene, count=count, rng=rng)]


def turns(item: QAItem) -> list[tuple[str, str]]:
    """Without the sentence about the lens."""
    return [(re.sub(r"^The .*?field of view.*?(degrees|\d\.\d)\. ", "", item.question), item.answer), *item.turns]


class Places:
    """Where an item's marks are, worked out from the pictures alone."""

    def __init__(self, scene: SceneState, item: QAItem) -> None:
        self.scene = scene
        names = item.about.get("cameras") or [item.about["camera"]]
        self.cameras = [scene.cameras.index(name) for name in names]
        self.marks = {mark.name: mark for mark in item.marks}

    def here(self, name: str) -> np.ndarray:
        """In the frame of the camera whose picture carries the mark."""
        mark = self.marks[name]
        camera = self.cameras[mark.image]
        focal = self.scene.intrinsics[camera]
        depth = self.scene.depth[camera][mark.row, mark.column]
        x = (mark.column + 0.5 - focal[0, 2]) / focal[0, 0] * depth
        y = (mark.row + 0.5 - focal[1, 2]) / focal[1, 1] * depth
        return np.array([x, y, depth])

    def world(self, name: str) -> np.ndarray:
        pose = np.linalg.inv(self.scene.world_to_camera[self.cameras[self.marks[name].image]])
        return pose[:3, :3] @ self.here(name) + pose[:3, 3]

    def camera(self, number: int) -> np.ndarray:
        return np.linalg.inv(self.scene.world_to_camera[self.cameras[number]])[:3, 3]

    def looks(self, number: int) -> np.ndarray:
        return self.scene.world_to_camera[self.cameras[number]][2, :3]


def angle(ahead: np.ndarray, to: np.ndarray) -> float:
    """Clockwise from above, degrees in (-180, 180]."""
    cross = ahead[0] * to[1] - ahead[1] * to[0]
    return float(-np.degrees(np.arctan2(cross, ahead[:2] @ to[:2])))


def check_number(said: str, unit: str, metres: float) -> None:
    scale = {"meters": 1.0, "centimeters": 100.0}[unit]
    assert float(said) == pytest.approx(metres * scale, abs=0.51 * (0.01 if scale == 1 else 1))


def check_side(said: str, ahead: np.ndarray, to: np.ndarray, dial: tuple[str, ...] = SIDES) -> None:
    sector = 360 / len(dial)
    assert abs((angle(ahead, to) - sector * dial.index(said) + 180) % 360 - 180) <= sector / 2


def check_single(question: str, said: str, at: Places) -> str:
    """Asserts that the answer is right; returns the question's form."""
    colours = re.findall(POINT, question)
    assert set(colours) <= at.marks.keys()
    values: dict[str, Any] = {
        "nearer": lambda c: at.here(c)[2],
        "farther": lambda c: -at.here(c)[2],
        "left": lambda c: at.marks[c].column,
        "right": lambda c: -at.marks[c].column,
        "higher": lambda c: -at.world(c)[2],
        "lower": lambda c: at.world(c)[2],
    }
    first = question.split(",")[0]
    form = next((word for word in values if re.search(rf"\b{word}\b", first) and " or " in question), None)
    if form:
        assert len(colours) == 2
        assert said == min(colours, key=values[form])
    elif "closer to" in question:
        form, (base, *pair) = "closer", colours
        assert said == min(pair, key=lambda c: np.linalg.norm(at.world(c) - at.world(base)))
    elif unit := re.search(r"How many (\w+) (?:is|are)", question):
        apart = len(colours) == 2
        form = "gap" if apart else "depth"
        other = at.here(colours[1]) if apart else np.zeros(3)
        check_number(said, unit[1], float(np.linalg.norm(at.here(colours[0]) - other)))
    elif question.startswith("Where is"):
        form = "place"
        np.testing.assert_allclose(np.array(said.strip("[]").split(", "), float), at.here(colours[0]), atol=0.0051)
    else:
        words = {"Which turn": "turn", "north": "compass", "12 o'clock": "clock", "which side": "sides"}
        form = next(form for word, form in words.items() if word in question)
        places = [at.world(c) for c in colours]
        stand, face = (places[1], places[0]) if form in ("compass", "clock") else places[:2]
        if form == "turn":
            assert abs((angle(face - stand, places[-1] - stand) - TURNS[said] + 180) % 360 - 180) <= 40
        else:
            check_side(said, face - stand, places[-1] - stand, DIALS[form])
    return form


def check_double(question: str, said: str, at: Places) -> str:
    colours = re.findall(POINT, question)
    cameras = [at.camera(0), at.camera(1)]
    near = [float(np.linalg.norm(at.world(colours[0]) - c)) for c in cameras] if colours else []
    place = int(said == "second")
    if options := re.findall(r"\bpoint-\d", question):
        assert options == sorted(options)
        assert said in options
        same = at.world(said.removeprefix("point-"))
        assert np.linalg.norm(same - at.world(colours[0])) < 0.02
        return "match"
    if "closer" in question:
        assert near[place] < near[1 - place] - 0.05
        return "nearer"
    if "higher" in question:
        assert cameras[place][2] > cameras[1 - place][2] + 0.05
        return "higher"
    if unit := re.search(r"How many (\w+) (?:is|are)", question):
        number = re.search(r"picture (\d)", question)
        check_number(said, unit[1], near[int(number[1]) - 1] if number else np.linalg.norm(cameras[1] - cameras[0]))
        return "far" if number else "apart"
    if "By how many degrees" in question:
        assert float(said) == pytest.approx(np.degrees(np.arccos(at.looks(0) @ at.looks(1))), abs=0.6)
        return "angle"
    if "move" in question:
        step = at.scene.world_to_camera[at.cameras[0]] @ np.append(cameras[1], 1.0)
        axis, sign = {"right": (0, 1), "left": (0, -1), "down": (1, 1), "up": (1, -1)}.get(
            said, (2, 1 if said == "forward" else -1)
        )
        assert sign * step[axis] > 0.05
        return "step"
    if "steeply" in question:
        lower = at.looks(1)[2] < at.looks(0)[2]
        assert said == ("more steeply" if lower else "less steeply")
        return "tilt"
    if "turn" in question:
        assert said == ("right" if angle(at.looks(0), at.looks(1)) > 0 else "left")
        return "turn"
    check_side(said, at.looks(0), cameras[1] - cameras[0])
    return "side"


@pytest.mark.parametrize(
    ("name", "check", "forms"),
    [
        ("quiz", check_single, SINGLE),
        ("mi_quiz", check_double, DOUBLE),
    ],
)
def test_every_answer_holds(scenes: list[SceneState], name: str, check: Any, forms: str) -> None:
    seen: Counter[str] = Counter()
    for scene, item in ask(name, scenes):
        at = Places(scene, item)
        asked = turns(item)
        assert 1 <= len(asked) <= 8
        assert len({question for question, _ in asked}) == len(asked)
        seen.update(check(question, said, at) for question, said in asked)
    assert seen.keys() == set(forms.split())
    assert min(seen.values()) >= 8, seen


def test_a_comparison_names_the_right_one_first_as_often_as_last(scenes: list[SceneState]) -> None:
    first = [
        said == re.findall(POINT, question)[0]
        for _, item in ask("quiz", scenes, count=40)
        for question, said in turns(item)
        if question.startswith("Which is") and "closer" not in question
    ]
    assert len(first) > 400
    assert np.mean(first) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", ["quiz", "mi_quiz"])
def test_a_record_is_one_conversation_about_pictures_with_points(scenes: list[SceneState], name: str) -> None:
    for scene, item in ask(name, scenes, count=3):
        record = item.to_record(name="q", data_source="test")
        said = [(turn["from"], turn["value"]) for turn in record["conversations"]]
        assert [speaker for speaker, _ in said] == ["human", "gpt"] * (1 + len(item.turns))
        assert said[0][1] == "<image>\n" * len(item.images) + item.question
        assert [value for _, value in said[2:]] == [value for turn in item.turns for value in turn]
        for number, camera in enumerate(Places(scene, item).cameras):
            marked = [mark for mark in item.marks if mark.image == number]
            changed = (item.images[number] != scene.images[camera]).any(-1)
            assert all(changed[mark.row, mark.column] for mark in marked)
            assert changed.any() == bool(marked)
            spots = [(mark.row, mark.column) for mark in marked]
            assert not any(covers(a, b, size=128) for i, a in enumerate(spots) for b in spots[:i])
    assert ask(name, scenes, count=3)[-1][1].turns == item.turns
