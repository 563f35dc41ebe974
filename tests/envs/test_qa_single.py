"""The single-image families against boxes, depth pictures and masks, recomputed here from the scenes."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.geometry import box_corners
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.stage import Shot, Stage

pytestmark = pytest.mark.sim
SHOT = Shot(cameras=("agentview",), extra_views=2, image_size=128, mirror=True, init_states=tuple(range(20, 50)))


@pytest.fixture(scope="module")
def scenes():
    stage = Stage("libero_object", task_id=1, assets=find_assets("libero_object"))
    rng = np.random.default_rng(0)
    yield [stage.rearranged(SHOT, rng=rng) for _ in range(5)]
    stage.close()


def ask(name, scenes, *, count=30, seed=0, **options):
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [(scene, item) for scene in scenes for item in family(scene, count=count, rng=rng)]


def number_of(scene, name):
    return scene.names.index(name)


def camera_of(scene, item):
    return scene.cameras.index(item.about["camera"])


def eye_of(scene, item):
    return np.linalg.inv(scene.world_to_camera[camera_of(scene, item)])[:3, 3]


def metres_of(answer):
    value, unit = answer.split()
    return float(value) / {"m": 1, "cm": 100}[unit]


def fov_of(scene, item):
    focal = scene.intrinsics[camera_of(scene, item), 0, 0]
    return np.degrees(2 * np.arctan(scene.images.shape[2] / 2 / focal))


def test_cameras_around_the_table_share_a_lens_and_see_objects(scenes):
    fovs = set()
    for scene in scenes:
        assert scene.cameras == ("agentview", "view0", "view1")
        assert scene.intrinsics[1, 0, 0] == scene.intrinsics[2, 0, 0]
        fovs.add(round(float(scene.intrinsics[1, 0, 0]), 3))
        for camera in (1, 2):
            assert (scene.visible[camera] > 0.2).sum() >= 2
            assert scene.depth[camera].min() > 0.1
    assert len(fovs) == len(scenes)
    eyes = np.array([np.linalg.inv(s.world_to_camera[k])[:3, 3] for s in scenes for k in (1, 2)])
    assert (eyes.std(axis=0) > 0.1).all()


def test_a_phrase_means_the_object_whose_box_is_answered(scenes):
    kinds = Counter()
    for scene, item in ask("grounding", scenes):
        camera = camera_of(scene, item)
        (name,) = item.about["objects"]
        target, label = number_of(scene, name), re.search(r'"label": "(.*?)"', item.answer)[1]
        assert label == scene.categories[target]
        box = json.loads(item.answer.strip("`").removeprefix("json"))[0]["bbox_3d"]
        centres = np.c_[scene.poses[:, :3, 3], np.ones(scene.num_objects)] @ scene.world_to_camera[camera].T
        np.testing.assert_allclose(box[:3], centres[target, :3], atol=0.0051)
        seen = [o for o in range(scene.num_objects) if (scene.instances[camera] == o + 1).any()]
        phrase = item.about["phrase"]
        assert phrase in item.question
        if mark := re.search("with the (.*) point", phrase):
            kinds["point"] += 1
            assert item.marks[0].name == mark[1]
            assert scene.instances[camera, item.marks[0].row, item.marks[0].column] == target + 1
        elif anchor := re.search("closest to the (.*), center", phrase):
            kinds["anchor"] += 1
            origin = scene.poses[scene.categories.index(anchor[1]), :3, 3]
            gaps = {o: np.linalg.norm(scene.poses[o, :3, 3] - origin) for o in seen}
            assert sorted(gaps, key=gaps.get)[1] == target
        elif "left" in phrase or "right" in phrase:
            kinds["side"] += 1
            columns = {o: np.nonzero(scene.instances[camera] == o + 1)[1].mean() for o in seen}
            assert (min if "left" in phrase else max)(columns, key=columns.get) == target
        elif "camera" in phrase:
            kinds["depth"] += 1
            gaps = {o: np.linalg.norm(centres[o, :3]) for o in seen}
            assert (max if "farthest" in phrase or "distant" in phrase else min)(gaps, key=gaps.get) == target
        else:
            kinds["height"] += 1
            tops = {o: box_corners(scene.poses[o], half_extents=scene.half_extents[o])[:, 2].max() for o in seen}
            assert max(tops, key=tops.get) == target
    assert {"point", "anchor", "side", "depth"} <= set(kinds)  # all of these objects reach about equally high


def test_distances_are_those_between_centres(scenes):
    forms = Counter()
    for scene, item in ask("distance", scenes):
        numbers = [number_of(scene, name) for name in item.about["objects"]]
        places = scene.poses[numbers, :3, 3]
        forms[item.about["form"]] += 1
        if item.about["form"] in ("apart", "away"):
            start = places[1] if item.about["form"] == "apart" else eye_of(scene, item)
            expected = np.linalg.norm(places[0] - start)
            assert metres_of(item.answer) == pytest.approx(expected, abs=0.0051)
            assert f"{fov_of(scene, item):.1f} degrees" in item.question
            continue
        gaps = {
            scene.categories[n]: np.linalg.norm(p - places[0]) for n, p in zip(numbers[1:], places[1:], strict=True)
        }
        far = re.search("farthest|most distant|largest distance", item.question)
        right = (max if far else min)(gaps, key=gaps.get)
        assert item.contest[0] == f"{right}, {item.about['wish']}"
        if item.about["form"] == "letters":
            assert re.search(rf"\n{item.answer}\. {right}\n", item.question)
        else:
            assert item.answer == right
    assert min(forms[form] for form in ("apart", "away", "letters", "names")) >= 5


def test_measured_sides_are_those_of_the_box_and_no_name_gives_them_away(scenes):
    kinds = Counter()
    for scene, item in ask("measurement", scenes, count=40):
        what = item.about["what"]
        kinds[what] += 1
        sides = [2 * scene.half_extents[number_of(scene, name)] for name in item.about["objects"]]
        corners = [
            box_corners(scene.poses[n], half_extents=scene.half_extents[n])[:, 2]
            for n in (number_of(scene, name) for name in item.about["objects"])
        ]
        expected = {
            "longest": sides[0].max(),
            "shortest": sides[0].min(),
            "height": np.ptp(corners[0]),
            "taller": np.ptp(corners[0]) - np.ptp(corners[-1]),
        }[what]
        assert metres_of(item.answer) == pytest.approx(expected, abs=0.0051 + 0.004 * (what in ("height", "taller")))
        assert not any(category in item.question for category in scene.categories)
        for mark, name in zip(item.marks, item.about["objects"], strict=True):
            assert scene.instances[camera_of(scene, item), mark.row, mark.column] == number_of(scene, name) + 1
            assert mark.name in item.question
    assert min(kinds[what] for what in ("longest", "shortest", "height", "taller")) >= 3


def test_captions_say_what_holds(scenes):
    sentences = Counter()
    for scene, item in ask("caption", scenes):
        camera = camera_of(scene, item)
        place = {scene.categories[n]: scene.poses[n, :3, 3] for n in range(scene.num_objects)}
        column = {
            c: np.nonzero(scene.instances[camera] == n + 1)[1].mean()
            for n, c in enumerate(scene.categories)
            if (scene.instances[camera] == n + 1).any()
        }
        away = {c: np.linalg.norm(p - eye_of(scene, item)) for c, p in place.items()}
        told = {scene.categories[number_of(scene, name)] for name in item.about["objects"]}
        for sentence in re.split(r"(?<=\.) (?=[A-Z])", item.answer):
            names = re.findall(r"the ([a-z ]+?)(?=,| and|\.| is)", sentence.replace("The ", "the "))
            if sentence.startswith("From left to right"):
                sentences["left"] += 1
                assert sorted(names, key=column.get) == names
            elif sentence.startswith("By the distance"):
                sentences["near"] += 1
                chain = re.findall(r"the ([a-z ]+?)(?=,| and|\.$)", sentence.split(": ")[1])
                assert sorted(chain, key=away.get) == chain
            elif found := re.match(r"The (.*) is closest to the (.*), (.*) m from center", sentence):
                sentences["neighbor"] += 1
                gaps = {c: np.linalg.norm(place[c] - place[found[1]]) for c in told - {found[1]}}
                assert min(gaps, key=gaps.get) == found[2]
                assert float(found[3]) == pytest.approx(gaps[found[2]], abs=0.0051)
            elif found := re.match(r"The (.*) is in the (\w+) (\w+) of the picture, (.*) m from the camera", sentence):
                sentences["place"] += 1
                third = int(3 * (column[found[1]] + 0.5) / 128)
                assert ("left", "middle", "right")[third] == found[3]
                assert float(found[4]) == pytest.approx(away[found[1]], abs=0.0051)
            else:
                sentences["opening"] += 1
                assert all(f"the {category}" in sentence for category in told)
    assert min(sentences[kind] for kind in ("left", "near", "neighbor", "place", "opening")) >= 5


@pytest.mark.parametrize("name", ["grounding", "distance", "measurement", "caption"])
def test_short_prompts_are_one_line(scenes, name):
    questions = [item.question for _, item in ask(name, scenes, count=20, short_prompt=True)]
    assert questions
    assert all("\n" not in question and len(question) < 260 for question in questions)


def test_letters_are_balanced(scenes):
    answers = Counter(i.answer for _, i in ask("distance", scenes, count=300) if i.about["form"] == "letters")
    assert answers["A"] / answers.total() == pytest.approx(1 / 3, abs=0.12)
    assert {"A", "B", "C", "D"} == set(answers)
