"""Questions about videos, answered anew from the simulator's states by other code than the families'.

The clips are real scenes in which everything moves: an episode here goes evenly from one arrangement of objects and arm
to a second and a third. Their states are put into a simulator again where bodies are asked about.
"""

import dataclasses
import itertools
import json
import re
from collections import Counter

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vst_vla.envs.assets import find_assets
from vst_vla.envs.geometry import apply
from vst_vla.envs.objects import find_objects
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.encoding import encode_video
from vst_vla.envs.qa.gaps import gap_between
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.envs.qa.variation import Variation
from vst_vla.envs.suites import init_state
from vst_vla.vla.data.videos import read_frames

pytestmark = pytest.mark.sim
SIZE = 128
NAMES = (
    "video_measurement",
    "video_object_relation",
    "video_counting",
    "video_route_plan",
    "video_order",
    "video_caption",
    "video_mixed",
)
SIDES = ["front", "front right", "right", "back right", "back", "back left", "left", "front left"]


def rearranging(simulator, *, init_state, rng):
    """An episode source: states that go evenly from one arrangement to a second and on to a third."""
    variation, states = Variation(simulator, objects=find_objects(simulator)), []
    for _ in range(3):
        variation.apply(STATES[init_state], rng=rng)
        states.append(simulator.get_state())
    return np.concatenate([np.linspace(*pair, num=29) for pair in itertools.pairwise(states)])


STATES = {}


@pytest.fixture(scope="module")
def stage():
    made = Stage("libero_object", task_id=0, assets=find_assets("libero_object"))
    STATES.update({number: init_state(made.simulator.task, index=number) for number in (20, 35)})
    yield made
    made.close()


@pytest.fixture(scope="module")
def clips(stage):
    rng, made = np.random.default_rng(0), []
    for number in (20, 35):
        shot = Shot(
            cameras=("agentview", "robot0_eye_in_hand"),
            extra_views=1,
            image_size=SIZE,
            mirror=number == 20,
            init_states=(number,),
        )
        made.append(stage.clip(stage.play(rearranging, shot, rng=rng), shot, rng=rng))
    return made


def ask(name, clips, *, count=30, seed=0, **options):
    """(clip, item) pairs."""
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [(clip, item) for clip in clips for item in family(clip, count=count, rng=rng)]


def frames_of(clip, item):
    """The moments shown, in the order in which they are shown."""
    return [clip.frames[number] for number in item.about["frames"]]


def frame_of(clip, item):
    return frames_of(clip, item)[0 if item.about["moment"] == "start" else -1]


def camera_of(clip, item):
    return clip.frames[0].cameras.index(item.about["camera"])


def numbers_of(clip, item):
    return [clip.frames[0].names.index(name) for name in item.about["objects"]]


def told(item):
    options = dict(re.findall(r"^([A-F])\. (.+)$", item.question, re.MULTILINE))
    return options.get(item.answer, item.answer)


def degrees_right(ahead, vector):
    right = np.array([ahead[1], -ahead[0]])
    return np.degrees(np.arctan2(right @ vector[:2], np.array(ahead[:2]) @ vector[:2])) % 360


def surface(scene, number):
    """Points (N,3) spread over an object's box, less than 6 mm apart on its faces."""
    steps = [np.linspace(-h, h, int(2 * h / 0.006) + 2) for h in scene.half_extents[number]]
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    edge = np.any(np.isclose(np.abs(grid), scene.half_extents[number]), axis=-1)
    return apply(scene.poses[number], points=grid[edge])


def sampled_gap(scene, one, other):
    return float(cKDTree(surface(scene, one)).query(surface(scene, other))[0].min())


def is_seen(scene, camera, number):
    return scene.mask(camera, number=number).sum() >= 40 and scene.visible[camera, number] >= 0.4


def test_lengths_in_videos_are_those_of_the_simulators_bodies(stage, clips):
    what = Counter()
    for clip, item in ask("video_measurement", clips):
        frames, (number,) = frames_of(clip, item), numbers_of(clip, item)
        mark, camera = item.marks[0], camera_of(clip, item)
        assert frames[0].instances[camera, mark.row, mark.column] == number + 1
        assert not np.array_equal(item.images[0], frames[0].images[camera])
        np.testing.assert_array_equal(item.images[1], frames[1].images[camera])
        what[item.about["what"]] += 1
        if item.about["what"] == "moved":
            places = []
            for frame in (frames[0], frames[-1]):
                stage.simulator.set_state(frame.state)
                pose, _ = stage.reader.objects[number].pose(stage.simulator.sim.data._data)
                places.append(pose[:3, 3])
            length = np.linalg.norm(places[1] - places[0])
        elif item.about["what"] == "height":
            length = np.ptp(surface(frames[0], number)[:, 2])
        else:
            sides = 2 * frames[0].half_extents[number]
            length = {"longest": sides.max(), "shortest": sides.min()}[item.about["what"]]
        assert float(item.answer) == pytest.approx(100 * length, abs=0.8)
    assert min(what[form] for form in ("moved", "height", "longest", "shortest")) >= 3


def test_the_gap_of_two_boxes_is_exact():
    rng = np.random.default_rng(0)
    for _ in range(20):
        rotations = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2)]
        poses = np.tile(np.eye(4), (2, 1, 1))
        poses[:, :3, :3] = rotations
        poses[1, :3, 3] = rng.normal(size=3)
        half_extents = rng.uniform(0.05, 0.4, size=(2, 3))
        local = rng.uniform(-1, 1, size=(2, 3000, 3)) * half_extents[:, None]
        local[np.arange(2)[:, None], np.arange(3000), rng.integers(3, size=(2, 3000))] *= 1e9
        local = np.clip(local, -half_extents[:, None], half_extents[:, None])
        clouds = [apply(pose, points=points) for pose, points in zip(poses, local, strict=True)]
        sampled, gap = cKDTree(clouds[0]).query(clouds[1])[0].min(), gap_between(poses, half_extents=half_extents)
        assert gap <= sampled + 1e-9
        assert gap == pytest.approx(sampled, abs=0.06)


def test_relations_in_videos_hold_in_the_asked_frame(clips):
    forms = Counter()
    for clip, item in ask("video_object_relation", clips):
        frame, numbers, form = frame_of(clip, item), numbers_of(clip, item), item.about["form"]
        assert all(is_seen(frame, camera_of(clip, item), number) for number in numbers)
        assert (
            f"{item.about['moment']} of the video" in item.question or f"at its {item.about['moment']}" in item.question
        )
        forms[form] += 1
        if form == "gap":
            assert float(item.answer) == pytest.approx(sampled_gap(frame, *numbers), abs=0.01)
        elif form == "nearest":
            gaps = {frame.categories[other]: sampled_gap(frame, numbers[0], other) for other in numbers[1:]}
            assert told(item) == min(gaps, key=gaps.get) == item.contest[0]
            assert np.diff(sorted(gaps.values()))[0] > 0.02
        else:
            start, ahead, goal = (frame.poses[number, :2, 3] for number in numbers)
            turn = degrees_right(ahead - start, goal - start) - 45 * SIDES.index(told(item))
            assert abs((turn + 180) % 360 - 180) < 19
    assert min(forms[form] for form in ("gap", "nearest", "side")) >= 8


def test_counts_in_videos(clips):
    forms = Counter()
    for clip, item in ask("video_counting", clips):
        camera, form = camera_of(clip, item), item.about["form"]
        forms[form, item.answer] += 1
        if form == "side":
            frame, (anchor, *rivals) = frame_of(clip, item), numbers_of(clip, item)
            columns = [np.nonzero(frame.mask(camera, number=n))[1].mean() for n in (anchor, *rivals)]
            steps = np.array(columns[1:]) - columns[0]
            assert int(item.answer) == (steps > 0 if item.about["side"] == "right" else steps < 0).sum()
            assert np.abs(steps).min() >= 0.05 * SIZE
            continue
        here = [any(is_seen(f, camera, n) for f in clip.frames) for n in range(clip.frames[0].num_objects)]
        shown = [category for category, seen in zip(clip.frames[0].categories, here, strict=True) if seen]
        assert int(item.answer) == sum(shown.count(name) for name in item.about["asked"])
        assert all(name in item.question for name in item.about["asked"])
        assert all(name in shown for name in item.about["asked"] if name in clip.frames[0].categories)
    assert len([key for key in forms if key[0] == "listed"]) >= 4
    assert len([key for key in forms if key[0] == "side"]) >= 4


def test_two_of_a_kind_are_counted(clips):
    clip, first = clips[0], clips[0].frames[0]
    twins = [number for number in range(first.num_objects) if is_seen(first, 0, number)][:2]
    names = tuple("can" if number in twins else name for number, name in enumerate(first.categories))
    twin_clip = dataclasses.replace(clip, frames=tuple(dataclasses.replace(f, categories=names) for f in clip.frames))
    answers = {
        (item.about["asked"][0], item.answer)
        for _, item in ask("video_counting", [twin_clip], count=80)
        if item.about["form"] == "kind"
    }
    assert ("can", "2") in answers
    assert {answer for _, answer in answers} == {"0", "1", "2"}


def test_planned_routes_lead_to_their_goals(clips):
    turns = Counter()
    for clip, item in ask("video_route_plan", clips):
        frame, numbers = frame_of(clip, item), numbers_of(clip, item)
        start, facing, *goals = (frame.poses[number, :2, 3] for number in numbers)
        place, ahead, walked = start, facing - start, []
        for goal in goals:
            angle = degrees_right(ahead, goal - place)
            walked.append("right" if 45 < angle < 135 else "left" if 225 < angle < 315 else "back")
            assert walked[-1] != "back" or 145 < angle < 215
            place, ahead = goal, goal - place
        assert told(item) == " then ".join(walked) == item.contest[0]
        assert len(set(re.findall(r"^[A-D]\. (.+)$", item.question, re.MULTILINE))) == 4
        turns[told(item)] += 1
    assert len(turns) >= 4


def test_orders_are_those_of_the_shown_frames(clips):
    forms, backwards = Counter(), Counter()
    for clip, item in ask("video_order", clips):
        frames, numbers, camera = frames_of(clip, item), numbers_of(clip, item), camera_of(clip, item)
        forms[item.about["form"]] += 1
        backwards[item.about["frames"][0] > 0] += 1
        np.testing.assert_array_equal(item.images[0], frames[0].images[camera])
        if item.about["form"] == "appear":
            moments = [next(t for t, f in enumerate(frames) if f.mask(camera, number=n).any()) for n in numbers]
            assert all(
                f.mask(camera, number=n).sum() >= 40 for n, f in zip(numbers, [frames[m] for m in moments], strict=True)
            )
        else:
            gaps = [[np.linalg.norm(f.poses[n, :3, 3] - f.gripper.pose[:3, 3]) for f in frames] for n in numbers]
            moments = [int(np.argmin(gap)) for gap in gaps]
        assert all(a < b for a, b in itertools.pairwise(moments))
        assert told(item) == " then ".join(clip.frames[0].categories[number] for number in numbers)
    assert forms["approach"] >= 5
    assert min(backwards.values()) >= 5


def test_captions_of_videos_hold(clips):
    checked = Counter()
    for clip, item in ask("video_caption", clips):
        frames, camera = frames_of(clip, item), camera_of(clip, item)
        first, last = frames[0], frames[-1]
        number = {category: n for n, category in enumerate(first.categories)}
        for sentence in item.answer.split(". "):
            if found := re.search(r"The (.+) is moved (.+), ([\d.]+) m in a", sentence):
                ends = [
                    apply(f.world_to_camera[camera], points=f.poses[number[found[1]], :3, 3]) for f in (first, last)
                ]
                step = ends[1] - ends[0]
                assert float(found[3]) == pytest.approx(np.linalg.norm(step), abs=0.006)
                assert ("right" in found[2]) <= (step[0] > 0)
                assert ("left" in found[2]) <= (step[0] < 0)
                assert ("down" in found[2]) <= (step[1] > 0)
                assert ("away" in found[2]) <= (step[2] > 0)
                assert ("towards" in found[2]) <= (step[2] < 0)
                checked["moved"] += 1
            if found := re.search(r"left to right: the (.+)$", sentence):
                names = re.split(r", the | and the ", found[1])
                columns = [np.nonzero(first.mask(camera, number=number[name]))[1].mean() for name in names]
                assert all(b - a >= 0.05 * SIZE for a, b in itertools.pairwise(columns))
                checked["order"] += 1
            if found := re.search(r"(start|end), the gripper holds nothing", sentence):
                assert not (first if found[1] == "start" else last).gripper.held
                checked["empty"] += 1
    assert min(checked["moved"], checked["order"], checked["empty"]) >= 2


def test_the_camera_of_a_video_travels_as_the_answers_say(clips):
    forms, axes = Counter(), {"right": 0, "left": 0, "down": 1, "up": 1, "forward": 2, "backward": 2}
    for clip, item in ask("video_mixed", clips):
        camera, form = camera_of(clip, item), item.about["form"]
        eyes = [np.linalg.inv(frame.world_to_camera[camera]) for frame in frames_of(clip, item)]
        forms[form] += 1
        if form == "travel":
            assert float(item.answer) == pytest.approx(np.linalg.norm(eyes[-1][:3, 3] - eyes[0][:3, 3]), abs=0.006)
        elif form == "heading":
            along = (eyes[-1][:3, 3] - eyes[0][:3, 3]) @ eyes[0][:3, :3]
            assert np.abs(along).argmax() == axes[told(item)]
            assert (along[axes[told(item)]] > 0) == (told(item) in ("right", "down", "forward"))
        else:
            frame, eye = frame_of(clip, item), eyes[0 if item.about["moment"] == "start" else -1]
            far = {
                frame.categories[n]: np.linalg.norm(frame.poses[n, :3, 3] - eye[:3, 3]) for n in numbers_of(clip, item)
            }
            if form == "away":
                assert float(item.answer) == pytest.approx(*far.values(), abs=0.006)
            else:
                assert told(item) == min(far, key=far.get)
                assert np.diff(sorted(far.values()))[0] >= 0.03
    assert min(forms[form] for form in ("travel", "heading", "away", "nearest")) >= 4, forms


@pytest.mark.parametrize("name", NAMES)
def test_a_family_of_videos_is_a_function_of_clip_and_generator(clips, name):
    once, again = (ask(name, clips, count=10, seed=5) for _ in range(2))
    assert once
    assert [(i.question, i.answer) for _, i in once] == [(i.question, i.answer) for _, i in again]
    assert [i.question for _, i in once] != [i.question for _, i in ask(name, clips, count=10, seed=6)]
    for _, item in once:
        assert item.question.startswith("These are frames of a video. ")
        assert len(item.images) == len(item.about["frames"])
    for _, item in ask(name, clips, count=10, short_prompt=True):
        assert "\n" not in item.question
        assert len(item.question) < 420


def test_a_video_is_written_as_one_file_whose_frames_come_back(clips):
    _, item = ask("video_measurement", clips)[0]
    record = item.to_record(name="clip", data_source="test")
    assert record["type"] == "video"
    assert record["conversations"][0]["value"].startswith("<video>\nThese are frames")
    (video,) = record["images"]
    assert video["path"] == "clip.mp4"
    frames = read_frames(video["bytes"])
    assert len(frames) == len(item.images)
    assert np.abs(np.stack(frames).astype(float) - np.stack(item.images)).mean() < 6
    assert video["bytes"] == encode_video(item.images, fps=item.fps)
    assert json.loads(record["meta_info"])[0]["family"] == "video_measurement"
