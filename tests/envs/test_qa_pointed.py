"""Coloured points on what a question names, against the simulator's own masks; and invented names."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.base import PICTURES, VIDEO, QAItem
from vst_vla.envs.qa.generate import make_qa
from vst_vla.envs.qa.marks import COLOURS
from vst_vla.envs.qa.pointed import pointed
from vst_vla.envs.qa.renamed import invent_names, renamed
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.vla.data.labeller import COLOURS as TAUGHT

pytestmark = pytest.mark.sim
SHOT = Shot(cameras=("agentview",), extra_views=2, image_size=128, mirror=True, init_states=tuple(range(20, 50)))
POINT = re.compile(r"(\w+)-point ")


@pytest.fixture(scope="module")
def scene():
    stage = Stage("libero_object", task_id=1, assets=find_assets("libero_object"))
    yield stage.rearranged(SHOT, rng=np.random.default_rng(0))
    stage.close()


@pytest.mark.parametrize("family", ["detection", "distance", "mi_object_relation"])
def test_a_point_lies_on_the_object_before_whose_names_its_colour_stands(scene, family):
    found = 0
    for item in make_family(family, short_prompt=True)(scene, count=8, rng=np.random.default_rng(0)):
        made = pointed(item, scene=scene, rng=np.random.default_rng(1))
        assert POINT.sub("", made.question) == item.question, "nothing else is changed"
        assert (made.about, made.contest) == (item.about, item.contest)
        assert POINT.sub("", made.answer) == item.answer
        cameras = item.about.get("cameras") or [item.about["camera"]]
        behind = [(match[1], made.question[match.end() :]) for match in POINT.finditer(made.question)]
        assert {colour for colour, _ in behind} == {mark.name for mark in made.marks}
        for mark in made.marks:
            view = scene.cameras.index(cameras[mark.image])
            owner = scene.instances[view][mark.row, mark.column] - 1
            named = [rest for colour, rest in behind if colour == mark.name]
            assert all(rest.startswith(scene.categories[owner]) for rest in named)
            drawn = made.images[mark.image][mark.row, mark.column]
            np.testing.assert_array_equal(drawn, COLOURS[mark.name])
            found += 1
    assert found >= 8


def question(scene, text, **changes):
    given = {"family": "test", "level": "L2", "kind": PICTURES, "answer": "A", "images": (scene.images[0],)}
    return QAItem(question=text, about={"camera": scene.cameras[0]}, **given | changes)


def test_films_are_pointed_at_in_their_first_frame_and_what_has_points_is_left_as_it_is(scene):
    name = next(name for name in scene.categories if scene.categories.count(name) == 1 and "basket" in name)
    film = question(scene, f"Where is the {name}?", kind=VIDEO, images=(scene.images[0], scene.images[0]))
    made = pointed(film, scene=scene, rng=np.random.default_rng(0))
    assert re.fullmatch(rf"Points are in the first frame\. Where is the \w+-point {name}\?", made.question)
    assert (made.images[0] != film.images[0]).any()
    assert made.images[1] is film.images[1]
    assert pointed(made, scene=scene, rng=np.random.default_rng(0)) is made
    unnamed = question(scene, "How many objects are there?")
    assert pointed(unnamed, scene=scene, rng=np.random.default_rng(0)) is unnamed


def test_every_mention_has_its_point_also_among_options_but_a_longer_name_is_another(scene):
    basket = next(name for name in scene.categories if scene.categories.count(name) == 1 and "basket" in name)
    text = f"Which is it, the {basket} or the {basket} lid? A {basket}, B lid then {basket}, C. {basket}, D a {basket}."
    made = pointed(question(scene, text), scene=scene, rng=np.random.default_rng(0))
    colour = made.marks[0].name
    assert len(made.marks) == 1
    assert made.question.count(f"{colour}-point {basket}") == made.question.count(basket) - 1
    assert made.question.endswith(
        f"A {colour}-point {basket}, B lid then {colour}-point {basket}, C. {colour}-point {basket}, D a {basket}."
    )


@pytest.mark.parametrize("before", ["", "<think>The ketchup is nearer.</think>"])
def test_an_answer_calls_its_object_as_the_question_does(scene, before):
    basket = next(name for name in scene.categories if scene.categories.count(name) == 1 and "basket" in name)
    asked = question(scene, f"Is it the {basket}?", answer=f"{before}{basket}", words=basket)
    made = pointed(asked, scene=scene, rng=np.random.default_rng(0))
    called = f"{made.marks[0].name}-point {basket}"
    assert (made.question, made.answer, made.words) == (f"Is it the {called}?", f"{before}{called}", called)
    told = replace(asked, answer=f"{basket} and ketchup", words="A")
    made = pointed(told, scene=scene, rng=np.random.default_rng(0))
    assert (made.answer, made.words) == (told.answer, told.words), "no name, or more than one"


def test_training_knows_the_colours_by_the_same_names():
    assert set(TAUGHT) == COLOURS.keys()


@pytest.mark.parametrize("family", ["detection", "distance", "caption"])
def test_invented_names_stand_for_the_real_ones_in_questions_and_answers(scene, family):
    names = invent_names(scene, rng=np.random.default_rng(0))
    assert len(set(names.values())) == len(names) == len(set(scene.categories))
    real = {invented: name for name, invented in names.items()}
    for item in make_family(family, short_prompt=True)(scene, count=4, rng=np.random.default_rng(0)):
        made = renamed(replace(item, turns=((item.question, item.answer),)), names=names)
        assert made.turns == ((made.question, made.answer),)
        assert made.about == item.about
        for text, before in ((made.question, item.question), (made.answer, item.answer), (made.words, item.words)):
            assert not any(re.search(rf"\b{re.escape(name)}\b", text) for name in names)
            assert re.sub("|".join(real), lambda match: real[match[0]], text) == before
        assert made.answer != item.answer or family == "distance"


def test_a_dataset_with_points_and_invented_names(tmp_path):
    made = {"mixture": {"distance": 1.0, "detection": 1.0}, "suite": "libero_object", "task_ids": [1], "num_items": 8}
    common = {**made, "image_size": 128, "num_workers": 1, "short_prompt": True, "progress": False}
    assert make_qa(tmp_path / "pointed", **common, points=True)["settings"]["points"] is True
    rows = pq.read_table(tmp_path / "pointed" / "part-00000.parquet").to_pylist()
    questions = [row["conversations"][0]["value"] for row in rows]
    assert sum(bool(POINT.search(text)) for text in questions) >= 6
    make_qa(tmp_path / "renamed", **common, points=True, invented_names=1.0)
    called = pq.read_table(tmp_path / "renamed" / "part-00000.parquet").to_pylist()
    named = re.compile(r"milk|basket|ketchup|butter|cream cheese|tomato sauce|salad dressing")
    assert any(named.search(text) for text in questions)
    assert not any(named.search(turn["value"]) for row in called for turn in row["conversations"])
