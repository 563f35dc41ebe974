"""Questions about two pictures of a scene, answered anew from the scene by other code than the families'."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from vst_vla.envs.assets import find_assets
from vst_vla.envs.geometry import apply, box_corners, box_from_numbers, project, unproject
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
CLOCKWISE = {
    "compass": ["north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"],
    "sides": ["front", "front right", "right", "back right", "back", "back left", "left", "front left"],
    "clock": [f"{hour or 12} o'clock" for hour in range(12)],
}


@pytest.fixture(scope="module")
def scenes():
    """Rearranged scenes of two suites, mirrored and physical by turns, each seen by four cameras."""
    made = []
    for suite in ("libero_object", "libero_goal"):
        stage, rng = Stage(suite, task_id=0, assets=find_assets(suite)), np.random.default_rng(1)
        for number in range(3):
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


def ask(name, scenes, *, count=12, seed=0, **options):
    """(scene, item) pairs."""
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [(scene, item) for scene in scenes for item in family(scene, count=count, rng=rng)]


def cameras_of(scene, item):
    return [scene.cameras.index(name) for name in item.about["cameras"]]


def eyes(scene, item):
    """Both cameras' poses (4,4) in the world."""
    return [np.linalg.inv(scene.world_to_camera[camera]) for camera in cameras_of(scene, item)]


def told(item):
    """The answer in words: the option under its letter, if there are options."""
    options = dict(re.findall(r"^([A-F])\. (.+)$", item.question, re.MULTILINE))
    return options.get(item.answer, item.answer)


def degrees_right(ahead, vector):
    """Angle of a vector to the right of `ahead`, seen from above: its part along `ahead` turned right by 90 degrees."""
    right = np.array([ahead[1], -ahead[0]])
    return np.degrees(np.arctan2(right @ vector[:2], np.array(ahead[:2]) @ vector[:2])) % 360


def is_direction(angle, name, dial):
    middle = 360 / len(CLOCKWISE[dial]) * CLOCKWISE[dial].index(name)
    return abs((angle - middle + 180) % 360 - 180) < 180 / len(CLOCKWISE[dial]) - 3


def test_corresponding_points_are_one_place(scenes):
    numbers, pairs = Counter(), ask("mi_correspondence", scenes, count=20)
    for scene, item in pairs:
        clouds = []
        for camera, eye in zip(cameras_of(scene, item), eyes(scene, item), strict=True):
            clouds.append(apply(eye, points=unproject(scene.depth[camera], intrinsics=scene.intrinsics[camera])))
        ring, *numbered = item.marks
        source = clouds[0][ring.row, ring.column]
        gaps = {f"point-{m.name}": np.linalg.norm(clouds[1][m.row, m.column] - source) for m in numbered}
        assert min(gaps, key=gaps.get) == item.answer
        assert gaps.pop(item.answer) < 0.02
        assert min(gaps.values()) >= 0.025
        places = np.array([(m.row, m.column) for m in numbered])
        spread = np.linalg.norm(places[:, None] - places[None], axis=-1) + SIZE * np.eye(4)
        assert spread.min() >= 0.12 * SIZE
        assert not np.array_equal(item.images[0], scene.images[cameras_of(scene, item)[0]])
        numbers[item.answer] += 1
    assert min(numbers.values()) > 0.12 * len(pairs)


def test_boxes_of_two_pictures_are_in_the_first_cameras_frame(scenes):
    only_second = 0
    for scene, item in ask("mi_detection", scenes):
        first, second = cameras_of(scene, item)
        np.testing.assert_allclose(scene.intrinsics[first], scene.intrinsics[second])
        boxes = json.loads("\n".join(item.answer.splitlines()[1:-1]))
        assert [box["label"] for box in boxes] == [
            scene.categories[scene.names.index(n)] for n in item.about["objects"]
        ]
        to_second = scene.world_to_camera[second] @ np.linalg.inv(scene.world_to_camera[first])
        for box, name in zip(boxes, item.about["objects"], strict=True):
            number = scene.names.index(name)
            pose, half_extents = box_from_numbers(np.array(box["bbox_3d"]))
            corners = box_corners(pose, half_extents=half_extents)
            truth = box_corners(scene.poses[number], half_extents=scene.half_extents[number])
            gaps = apply(scene.world_to_camera[first], points=truth)[:, None] - corners
            centre_gap = np.linalg.norm(
                corners.mean(axis=0) - apply(scene.world_to_camera[first], points=truth).mean(axis=0)
            )
            assert centre_gap < 0.01
            if scene.round_axes[number] < 0:
                gaps = np.linalg.norm(gaps, axis=-1)
                assert gaps[linear_sum_assignment(gaps)].max() < 0.018
            if scene.visible[second, number] > 0.9 and (seen := scene.mask(second, number=number)).any():
                outline = project(apply(to_second, points=corners), intrinsics=scene.intrinsics[second])
                rows, columns = np.nonzero(seen)
                assert outline[:, 0].min() - 3 <= columns.min() + 0.5
                assert columns.max() + 0.5 <= outline[:, 0].max() + 3
                assert outline[:, 1].min() - 3 <= rows.min() + 0.5
                assert rows.max() + 0.5 <= outline[:, 1].max() + 3
            only_second += scene.visible[first, number] < 0.4
    assert only_second


def test_a_question_about_two_pictures_is_unified_with_both(scenes):
    item = ask("mi_detection", scenes)[0][1]
    record = item.to_record(name="a", data_source="b") | {"images": list(item.images)}
    unified = unify_record(record, target=FovTarget())
    text = unified["conversations"][0]["value"]
    assert text.startswith("<image>\n<image>\nCamera of this picture: horizontal fov, hfov=")
    assert CAMERA_END in text
    assert len({image.shape for image in unified["images"]}) == 1
    assert unified["images"][1].shape[0] % 28 == 0


def test_directions_between_objects_are_those_seen_from_above(scenes):
    found = Counter()
    for scene, item in ask("mi_object_relation", scenes, count=20):
        start, ahead, goal = (scene.poses[scene.names.index(name), :2, 3] for name in item.about["objects"])
        for name in item.about["objects"]:
            number = scene.names.index(name)
            assert f"the {scene.categories[number]}" in item.question
            assert max(scene.visible[camera, number] for camera in cameras_of(scene, item)) >= 0.5
        dial = item.about["dial"]
        assert is_direction(degrees_right(ahead - start, goal - start), told(item), dial), item.question
        assert item.contest[0] == told(item)
        found[dial, told(item)] += 1
    assert all(len([key for key in found if key[0] == dial]) >= 6 for dial in CLOCKWISE)


def test_cameras_stand_where_the_answers_say(scenes):
    forms = Counter()
    for scene, item in ask("mi_camera_relation", scenes, count=30):
        (first, second), form = eyes(scene, item), item.about["form"]
        step = second[:3, 3] - first[:3, 3]
        forms[form] += 1
        if form == "side":
            assert is_direction(degrees_right(first[:2, 2], step), told(item), "sides")
        elif form == "apart":
            number, unit = item.answer.split()
            assert float(number) == pytest.approx(np.linalg.norm(step) * {"m": 1, "cm": 100}[unit], rel=0.05)
        elif form == "turn":
            angle = np.degrees(
                np.arctan2(np.linalg.norm(np.cross(first[:3, 2], second[:3, 2])), first[:3, 2] @ second[:3, 2])
            )
            assert float(told(item)) == pytest.approx(angle, abs=0.51)
        elif form == "higher":
            assert item.answer == ("first" if first[2, 3] > second[2, 3] else "second")
        else:
            place = scene.poses[scene.names.index(item.about["objects"][0]), :3, 3]
            distances = [np.linalg.norm(place - eye[:3, 3]) for eye in (first, second)]
            assert item.answer == ("first", "second")[int(np.argmin(distances))]
            assert abs(distances[0] - distances[1]) > 0.1
    assert min(forms[form] for form in ("side", "apart", "turn", "higher", "nearer")) >= 5


def test_the_camera_moved_as_the_answers_say(scenes):
    forms, axes = Counter(), {"right": 0, "left": 0, "down": 1, "up": 1, "forward": 2, "backward": 2}
    for scene, item in ask("mi_camera_motion", scenes, count=20):
        (first, second), form, answer = eyes(scene, item), item.about["form"], told(item)
        step = second[:3, 3] - first[:3, 3]
        forms[form, answer] += 1
        if form == "move":
            along = step @ first[:3, :3]
            assert np.abs(along).argmax() == axes[answer]
            assert (along[axes[answer]] > 0) == (answer in ("right", "down", "forward"))
        elif form == "clock":
            assert is_direction(degrees_right(first[:2, 2], step), answer, "clock")
        elif form == "turn":
            turn = degrees_right(first[:2, 2], second[:2, 2])
            assert answer == ("right" if turn < 180 else "left")
            assert 14 < turn < 346
        else:
            assert answer == ("more steeply" if second[2, 2] < first[2, 2] else "less steeply")
    assert {"move", "clock", "turn", "tilt"} == {form for form, _ in forms}
    assert min(forms["turn", side] for side in ("left", "right")) >= 3


def test_captions_of_two_pictures_hold(scenes):
    checked = Counter()
    for scene, item in ask("mi_caption", scenes, count=6):
        first, second = cameras_of(scene, item)
        number = {category: n for n, category in enumerate(scene.categories)}
        places = {c: apply(scene.world_to_camera[first], points=scene.poses[n, :3, 3]) for c, n in number.items()}
        seen = [{c for c, n in number.items() if scene.mask(camera, number=n).any()} for camera in (first, second)]
        for sentence in item.answer.removesuffix(".").split(". "):
            if only := re.fullmatch(r"Only picture (\d) shows (.+)", sentence):
                names = set(re.split(r", the | and the ", only[2].removeprefix("the ")))
                here, there = seen if only[1] == "1" else seen[::-1]
                assert names <= here - there
                checked["only"] += 1
            if found := re.search(
                r"viewer of picture 1, the (.+) is (to the|nearer|farther)(.+) the ([a-z0-9 ]+), ([\d.]+) m", sentence
            ):
                one, other = places[found[1]], places[found[4]]
                words = found[2] + found[3]
                assert float(found[5]) == pytest.approx(np.linalg.norm(one - other), abs=0.006)
                assert ("right" in words) <= (one[0] > other[0])
                assert ("left" in words) <= (one[0] < other[0])
                assert ("nearer" in words) <= (one[2] < other[2])
                assert ("farther" in words) <= (one[2] > other[2])
                checked["side"] += 1
            if found := re.search(r"Picture 2 was taken ([\d.]+) m from where", sentence):
                gap = np.subtract(*[eye[:3, 3] for eye in eyes(scene, item)])
                assert float(found[1]) == pytest.approx(np.linalg.norm(gap), abs=0.006)
                checked["camera"] += 1
    assert min(checked["only"], checked["side"], checked["camera"]) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_a_family_of_pairs_is_a_function_of_scene_and_generator(scenes, name):
    once, again = (ask(name, scenes[:2], seed=5) for _ in range(2))
    assert once
    assert [(i.question, i.answer) for _, i in once] == [(i.question, i.answer) for _, i in again]
    assert [i.question for _, i in once] != [i.question for _, i in ask(name, scenes[:2], seed=6)]
    assert all(len(item.images) == 2 and item.about["cameras"] for _, item in once)
    for _, item in ask(name, scenes[:2], short_prompt=True):
        assert "\n" not in item.question
        assert len(item.question) < 260
