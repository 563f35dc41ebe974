"""Questions about two pictures of a scene against raw simulator states (qa_truth/), and what such items are like."""

from collections import Counter

import numpy as np
import pytest
from qa_truth import check
from qa_truth.case import DIALS, Case
from qa_truth.moment import World

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.vla.fov import CAMERA_END, FovTarget, unify_record

pytestmark = pytest.mark.sim
SIZE = 128
NAMES = (
    "mi_correspondence",
    "mi_detection",
    "mi_object_relation",
    "mi_camera_relation",
    "mi_camera_motion",
    "mi_caption",
)


@pytest.fixture(scope="module")
def moments():
    """Rearranged scenes of two suites, mirrored and physical by turns, each seen by four cameras."""
    made, opened = [], []
    for suite in ("libero_object", "libero_goal"):
        stage, rng = Stage(suite, task_id=0, assets=find_assets(suite)), np.random.default_rng(1)
        world = World(stage.simulator, size=SIZE)
        opened.append(stage)
        for number in range(3):
            shot = Shot(
                cameras=("agentview", "robot0_eye_in_hand"),
                extra_views=2,
                image_size=SIZE,
                mirror=number % 2 == 0,
                init_states=(20, 30),
            )
            made.append(world.moment(stage.rearranged(shot, rng=rng)))
    yield made
    for stage in opened:
        stage.close()


def ask(name, moments, *, count=12, seed=0, **options):
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [Case(item, (m,)) for m in moments for item in family(m.scene, count=count, rng=rng)]


def checked(name, moments, **options):
    """Cases whose answers hold."""
    cases = ask(name, moments, **options)
    for case in cases:
        check(case)
    return cases


def test_corresponding_points_are_one_place(moments):
    numbers = Counter(case.answer for case in checked("mi_correspondence", moments, count=20))
    assert len(numbers) == 4
    assert min(numbers.values()) > 0.12 * numbers.total()


def test_boxes_of_two_pictures_are_in_the_first_cameras_frame(moments):
    only_second = 0
    for case in checked("mi_detection", moments):
        first, second = case.cameras
        hidden = [thing for thing in case.things if not case.moment.pixels(first, thing)]
        assert all(case.moment.pixels(second, thing) for thing in hidden)
        only_second += len(hidden)
    assert only_second


def test_a_question_about_two_pictures_is_unified_with_both(moments):
    item = ask("mi_detection", moments)[0].item
    record = item.to_record(name="a", data_source="b") | {"images": list(item.images)}
    unified = unify_record(record, target=FovTarget())
    text = unified["conversations"][0]["value"]
    assert text.startswith("<image>\n<image>\nCamera of this picture: horizontal fov, hfov=")
    assert CAMERA_END in text
    assert len({image.shape for image in unified["images"]}) == 1
    assert unified["images"][1].shape[0] % 28 == 0


def test_directions_between_objects_are_those_seen_from_above(moments):
    found = Counter()
    for case in checked("mi_object_relation", moments, count=20):
        assert case.item.contest[0].startswith(case.told)
        found[case.about["dial"], case.told] += 1
    assert all(len([key for key in found if key[0] == dial]) >= 6 for dial in DIALS)


def test_cameras_stand_where_the_answers_say(moments):
    forms = Counter(case.about["form"] for case in checked("mi_camera_relation", moments, count=30))
    assert min(forms[form] for form in ("side", "apart", "turn", "higher", "nearer")) >= 5


def test_the_camera_moved_as_the_answers_say(moments):
    forms = Counter((case.about["form"], case.told) for case in checked("mi_camera_motion", moments, count=20))
    assert {"move", "clock", "turn", "tilt"} == {form for form, _ in forms}
    assert min(forms["turn", side] for side in ("left", "right")) >= 3


def test_captions_of_two_pictures_hold(moments):
    text = " ".join(case.answer for case in checked("mi_caption", moments, count=6))
    for words in ("Only picture", "For the viewer of picture 1", "Picture 2 was taken"):
        assert text.count(words) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_a_family_of_pairs_is_a_function_of_scene_and_generator(moments, name):
    once, again = (ask(name, moments[:2], seed=5) for _ in range(2))
    assert once
    assert [(c.question, c.answer) for c in once] == [(c.question, c.answer) for c in again]
    assert [c.question for c in once] != [c.question for c in ask(name, moments[:2], seed=6)]
    assert all(len(case.item.images) == 2 for case in once)
    for case in ask(name, moments[:2], short_prompt=True):
        assert "\n" not in case.question
        assert len(case.question) < 260
