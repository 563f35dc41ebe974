"""Questions about videos against raw simulator states (qa_truth/), and what such items are like.

The clips are real scenes in which everything moves: an episode here goes evenly from one arrangement of objects and arm
to a second and a third.
"""

import dataclasses
import itertools
import json
from collections import Counter

import numpy as np
import pytest
from qa_truth import check
from qa_truth.case import Case
from qa_truth.moment import World
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
    """Clips with their moments, mirrored and physical."""
    rng, world, made = np.random.default_rng(0), World(stage.simulator, size=SIZE), []
    for number in (20, 35):
        shot = Shot(
            cameras=("agentview", "robot0_eye_in_hand"),
            extra_views=1,
            image_size=SIZE,
            mirror=number == 20,
            init_states=(number,),
        )
        clip = stage.clip(stage.play(rearranging, shot, rng=rng), shot, rng=rng)
        made.append((clip, tuple(world.moment(frame) for frame in clip.frames)))
    return made


def ask(name, clips, *, count=30, seed=0, **options):
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [Case(item, moments) for clip, moments in clips for item in family(clip, count=count, rng=rng)]


def checked(name, clips):
    """Cases whose answers hold."""
    cases = ask(name, clips)
    for case in cases:
        check(case)
    return cases


def test_lengths_in_videos_are_those_of_the_simulators_bodies(clips):
    what = Counter(case.about["what"] for case in checked("video_measurement", clips))
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
    forms = Counter(case.about["form"] for case in checked("video_object_relation", clips))
    assert min(forms[form] for form in ("gap", "nearest", "side")) >= 5


def test_counts_in_videos(clips):
    forms = Counter((case.about["form"], case.answer) for case in checked("video_counting", clips))
    assert len([key for key in forms if key[0] == "listed"]) >= 4
    assert len([key for key in forms if key[0] == "side"]) >= 4


def test_two_of_a_kind_are_counted(clips):
    clip, moments = clips[0]
    first = clip.frames[0]
    twins = [
        number
        for number in range(first.num_objects)
        if (first.instances[0] == number + 1).sum() > 40 and first.visible[0, number] > 0.4
    ][:2]
    names = tuple("can" if number in twins else name for number, name in enumerate(first.categories))
    twin_clip = dataclasses.replace(clip, frames=tuple(dataclasses.replace(f, categories=names) for f in clip.frames))
    cases = ask("video_counting", [(twin_clip, moments)], count=80)
    answers = {(case.about["asked"][0], case.answer) for case in cases if case.about["form"] == "kind"}
    assert ("can", "2") in answers
    assert {answer for _, answer in answers} == {"0", "1", "2"}
    lists = [case.about["asked"] for case in cases if case.about["form"] == "listed"]
    assert lists
    assert not any("can" in names for names in lists), "of two cans, some would count one"


def test_planned_routes_lead_to_their_goals(clips):
    assert len({case.told for case in checked("video_route_plan", clips)}) >= 4


def test_orders_are_those_of_the_shown_frames(clips):
    cases = checked("video_order", clips)
    assert Counter(case.about["form"] for case in cases)["approach"] >= 5
    backwards = Counter(case.about["frames"][0] > case.about["frames"][-1] for case in cases)
    assert min(backwards.values()) >= 5


@pytest.mark.parametrize("name", ["video_object_relation", "video_route_plan"])
def test_at_most_one_fixture_is_asked_about(clips, name):
    """How two of them lie to each other is the same in every scene of a task."""
    clip, moments = clips[0]
    names = clip.frames[0].names
    for fixed in (names[:2], names):
        stands = tuple(name in fixed for name in names)
        changed = dataclasses.replace(clip, frames=tuple(dataclasses.replace(f, fixed=stands) for f in clip.frames))
        cases = ask(name, [(changed, moments)], count=40)
        assert bool(cases) == (fixed != names)
        assert all(len(set(case.about["objects"]) & set(fixed)) <= 1 for case in cases)


def test_no_order_can_be_ruled_out_unseen(clips):
    """Whatever is offered is right of another of the clip's videos, each about as often."""
    for clip in clips[:2]:
        cases = [case for case in ask("video_order", [clip], count=400) if case.about["form"] == "approach"]
        right = Counter(case.item.contest[0] for case in cases)
        offered = Counter(name for case in cases for name in case.item.contest)
        pairs = [name for name in offered if name.count(" then ") == 1 and offered[name] >= 12]
        assert pairs
        assert all(0.2 < right[name] / offered[name] < 0.8 for name in pairs), (right, offered)


def test_captions_of_videos_hold(clips):
    text = " ".join(case.answer for case in checked("video_caption", clips))
    for words in ("is moved", "left to right", "the gripper holds nothing"):
        assert text.count(words) >= 2


def test_the_camera_of_a_video_travels_as_the_answers_say(clips):
    forms = Counter(case.about["form"] for case in checked("video_mixed", clips))
    assert min(forms[form] for form in ("travel", "heading", "away", "nearest")) >= 4, forms


@pytest.mark.parametrize("name", NAMES)
def test_a_family_of_videos_is_a_function_of_clip_and_generator(clips, name):
    once, again = (ask(name, clips, count=10, seed=5) for _ in range(2))
    assert once
    assert [(c.question, c.answer) for c in once] == [(c.question, c.answer) for c in again]
    assert [c.question for c in once] != [c.question for c in ask(name, clips, count=10, seed=6)]
    for item in (case.item for case in once):
        assert item.question.startswith("These are frames of a video. ")
        assert len(item.images) == len(item.about["frames"])
    for item in (case.item for case in ask(name, clips, count=10, short_prompt=True)):
        assert "\n" not in item.question
        assert len(item.question) < 420


def test_a_video_is_written_as_one_file_whose_frames_come_back(clips):
    item = ask("video_measurement", clips)[0].item
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
