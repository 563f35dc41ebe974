"""The single-image families against raw simulator states (qa_truth/), and what their items are like."""

import itertools
from collections import Counter

import numpy as np
import pytest
from qa_truth import check
from qa_truth.case import Case
from qa_truth.moment import World

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.marks import COLOURS, covers
from vst_vla.envs.qa.stage import Shot, Stage

pytestmark = pytest.mark.sim
SHOT = Shot(cameras=("agentview",), extra_views=2, image_size=128, mirror=True, init_states=tuple(range(20, 50)))


@pytest.fixture(scope="module")
def moments():
    stage = Stage("libero_object", task_id=1, assets=find_assets("libero_object"))
    world, rng = World(stage.simulator, size=128), np.random.default_rng(0)
    yield [world.moment(stage.rearranged(SHOT, rng=rng)) for _ in range(5)]
    stage.close()


def ask(name, moments, *, count=30, seed=0, **options):
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [Case(item, (m,)) for m in moments for item in family(m.scene, count=count, rng=rng)]


def checked(name, moments, **options):
    """Cases whose answers hold."""
    cases = ask(name, moments, **options)
    for case in cases:
        check(case)
    return cases


def test_cameras_around_the_table_share_a_lens_and_see_objects(moments):
    fovs, scenes = set(), [moment.scene for moment in moments]
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


def test_a_phrase_means_the_object_whose_box_is_answered(moments):
    kinds = Counter()
    for case in checked("grounding", moments):
        words = case.about["phrase"]
        kinds[next(w for w in ("point", "center to center", "left", "right", "camera", "highest") if w in words)] += 1
    assert {"point", "center to center", "camera"} <= set(kinds)
    assert kinds["left"] + kinds["right"] >= 3  # all of these objects reach about equally high


def test_distances_are_those_between_centres(moments):
    forms = Counter(case.about["form"] for case in checked("distance", moments))
    assert min(forms[form] for form in ("apart", "away", "letters", "names")) >= 5


def test_measured_sides_are_those_of_the_box_and_no_name_gives_them_away(moments):
    kinds = Counter(case.about["what"] for case in checked("measurement", moments, count=40))
    assert min(kinds[what] for what in ("longest", "shortest", "height", "taller")) >= 3


def test_captions_say_what_holds(moments):
    text = " ".join(case.answer for case in checked("caption", moments))
    for words in ("From left to right", "By the distance", "is closest to", "of the picture,"):
        assert text.count(words) >= 5


def test_boxes_and_depths_of_scenes_hold(moments):
    for name in ("detection", "depth_order"):
        assert len(checked(name, moments, count=20)) >= 40


@pytest.mark.parametrize("name", ["grounding", "distance", "measurement", "caption"])
def test_short_prompts_are_one_line(moments, name):
    questions = [case.question for case in ask(name, moments, count=20, short_prompt=True)]
    assert questions
    assert all("\n" not in question and len(question) < 260 for question in questions)


def test_letters_are_balanced(moments):
    cases = [c for c in ask("distance", moments, count=300) if c.about["form"] == "letters"]
    expected = sum(1 / len(c.item.contest) for c in cases)
    assert sum(c.answer == "A" for c in cases) == pytest.approx(expected, abs=4 * np.sqrt(expected / 2))
    assert {"A", "B", "C"} <= {c.answer for c in cases}


def test_fields_name_what_covers_most_of_each(moments):
    named = 0
    for scene in (moment.scene for moment in moments):
        for item in make_family("fields", rows=4)(scene, count=3, rng=np.random.default_rng(0)):
            camera, size = scene.cameras.index(item.about["camera"]), 128 // 4
            whole = [n for n in range(scene.num_objects) if scene.parents[n] < 0]
            masks = {scene.categories[n]: scene.mask(camera, number=n) for n in whole}
            lines = item.answer.split("\n")
            assert len(lines) == 4
            for place, field in enumerate(field for line in lines for field in line.split(", ")):
                row, column = divmod(place, 4)
                window = np.s_[row * size : (row + 1) * size, column * size : (column + 1) * size]
                shares = {name: mask[window].mean() for name, mask in masks.items()}
                name, _, depth = field.rpartition(" ")
                assert shares.get(name, 0) >= max(0.15, *shares.values()) or (
                    name == "-" and max(shares.values()) < 0.15
                )
                assert float(depth) == pytest.approx(
                    np.sort(scene.depth[camera][window].ravel())[size * size // 2], abs=0.06
                )
                named += name != "-"
    assert named >= 20
    short, long = (
        make_family("fields", short_prompt=short)(moments[0].scene, count=1, rng=np.random.default_rng(0))[0]
        for short in (True, False)
    )
    assert short.answer == long.answer
    assert "A line a row" in long.question
    assert "A line a row" not in short.question


@pytest.mark.parametrize("name", ["depth_order", "measurement"])
def test_points_never_cover_each_other(moments, name):
    marked = [case.item for case in ask(name, moments, count=200) if len(case.item.marks) > 1]
    assert len(marked) > 100
    for item in marked:
        for one, other in itertools.combinations(item.marks, 2):
            size = len(item.images[0])
            assert not covers((one.row, one.column), (other.row, other.column), size=size)
    shown = [(item, mark) for item in marked for mark in item.marks if mark.name in COLOURS]
    for item, mark in shown:
        assert tuple(item.images[mark.image][mark.row, mark.column]) == COLOURS[mark.name]
