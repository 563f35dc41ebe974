"""Robot grounding, answered anew from the simulator: rays for pixels, LIBERO's predicates, every step of the episodes.

Rays are cast with MuJoCo through pixels of the policies' agent view, so that neither the pictures' masks nor the
families' projections are used. Two episodes are played by the expert, seen mirrored and physical.
"""

import dataclasses
import json
import re
from collections import Counter
from functools import partial
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.balance import Ledger
from vst_vla.envs.qa.base import Clip
from vst_vla.envs.qa.conditions import read_condition
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.policies.episode_states import expert_states
from vst_vla.scripts.config import compose

pytestmark = pytest.mark.sim
SIZE = 160
OF_SCENES = ("robot_point", "robot_box", "robot_gripper")
OF_CLIPS = ("robot_trace", "robot_reach_first", "robot_goal_now")
CAMERAS = ("agentview", "robot0_eye_in_hand")


def shot_of(*, init_state, mirror):
    return Shot(cameras=CAMERAS, extra_views=1, image_size=SIZE, mirror=mirror, init_states=(init_state,))


@pytest.fixture(scope="module")
def stage():
    made = Stage("libero_object", task_id=0, assets=find_assets("libero_object"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def plays(stage):
    """Episodes of the official layout with a clip of each."""
    rng, made, source = np.random.default_rng(0), [], partial(expert_states, vary=False)
    for init_state, mirror in ((20, True), (35, False)):
        shot = shot_of(init_state=init_state, mirror=mirror)
        episode = stage.play(source, shot, rng=rng)
        made.append(SimpleNamespace(states=episode.states, clip=stage.clip(episode, shot, rng=rng)))
    return made


@pytest.fixture(scope="module")
def scenes(stage, plays):
    rng = np.random.default_rng(1)
    made = [stage.rearranged(shot_of(init_state=25 + n, mirror=n % 2 == 0), rng=rng) for n in range(4)]
    return made + [play.clip.frames[2] for play in plays]


def ask(name, about, *, count=30, seed=0, **options):
    """(scene or clip, item) pairs."""
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [(one, item) for one in about for item in family(one, count=count, rng=rng)]


def ask_clips(name, plays, **options):
    clips = {id(play.clip): play for play in plays}
    return [(clips[id(clip)], item) for clip, item in ask(name, [play.clip for play in plays], **options)]


def answer_of(item):
    lines = item.answer.splitlines()
    assert (lines[:2], lines[-2:]) == (["```json", "["], ["]", "```"])
    (entry,) = json.loads("\n".join(lines[1:-1]))
    return entry


class Eye:
    """The physical agent view of a state, and pixels of pictures of it, mirrored or not."""

    def __init__(self, stage, scene):
        stage.simulator.set_state(scene.state)
        self.model, self.data = stage.simulator.sim.model._model, stage.simulator.sim.data._data
        self.mirrored = scene.mirrored
        camera = self.model.camera("agentview").id
        self.place, self.axes = self.data.cam_xpos[camera].copy(), self.data.cam_xmat[camera].reshape(3, 3).copy()
        self.focal = SIZE / 2 / np.tan(np.radians(self.model.cam_fovy[camera]) / 2)

    def in_frame(self, point):
        """World point -> right, down, forward in the picture's own frame."""
        right, up, backward = (point - self.place) @ self.axes
        return np.array([-right if self.mirrored else right, -up, -backward])

    def pixel(self, point):
        right, down, forward = self.in_frame(point)
        return np.array([right, down]) / forward * self.focal + SIZE / 2

    def hits(self, columns, rows):
        """Names of the bodies that rays through pixels meet, from the root downwards."""
        right = (np.asarray(columns) + 0.5 - SIZE / 2) / self.focal * (-1 if self.mirrored else 1)
        up = -(np.asarray(rows) + 0.5 - SIZE / 2) / self.focal
        rays = np.stack([right, up, -np.ones_like(right)], -1) @ self.axes.T
        geoms, gaps = np.zeros(len(rays), np.int32), np.zeros(len(rays))
        drawn = np.array([0, 1, 0, 0, 0, 0], np.uint8)
        mujoco.mj_multiRay(
            self.model, self.data, self.place, rays.ravel(), drawn, 1, -1, geoms, gaps, None, len(rays), mujoco.mjMAXVAL
        )
        return [self.bodies(geom) for geom in geoms]

    def bodies(self, geom):
        body, names = self.model.geom_bodyid[geom] if geom >= 0 else 0, []
        while body:
            names.append(self.model.body(body).name)
            body = self.model.body_parentid[body]
        return names

    def shows(self, name, columns, rows):
        """Which of the pixels show an object at their centre or a third of a pixel beside it, (N,) bool."""
        nine = [(x, y) for x in (-0.33, 0, 0.33) for y in (-0.33, 0, 0.33)]
        hits = [self.hits(np.asarray(columns) + x, np.asarray(rows) + y) for x, y in nine]
        return np.array([[f"{name}_main" in bodies for bodies in some] for some in hits]).any(axis=0)

    @property
    def hand(self):
        return self.data.site("gripper0_grip_site").xpos.copy()


def test_points_lie_on_what_the_instruction_means(stage, scenes):
    checked = Counter()
    for scene, item in ask("robot_point", scenes):
        entry, (name,) = answer_of(item), item.about["objects"]
        assert list(entry) == ["point_2d", "label"]
        assert item.about["points"] == [entry["point_2d"]]
        assert entry["label"] == scene.categories[scene.names.index(name)]
        assert f'"{item.about["instruction"]}"' in item.question
        assert re.search(rf"\bthe {entry['label']}\b", item.about["instruction"])
        assert f"{SIZE}x{SIZE} pixels" in item.question
        number, camera, (x, y) = scene.names.index(name), scene.cameras.index(item.about["camera"]), entry["point_2d"]
        assert scene.mask(camera, number=number)[y, x]
        if item.about["camera"] == "agentview":
            assert Eye(stage, scene).shows(name, [x], [y]).all()
            checked[item.about["instruction"] == scene.task] += 1
    assert checked.total() >= 15, checked


def test_the_tasks_own_sentence_is_asked_until_it_is_fulfilled(scenes, plays):
    def told(about):
        items = [item for seed in range(8) for _, item in ask("robot_point", [about], seed=seed)]
        return {item.about["objects"][0] for item in items if item.about["instruction"] == about.task}

    assert told(scenes[0]) == {"alphabet_soup_1"}
    done = plays[0].clip.frames[-1]
    assert all(goal.holds for goal in done.goals)
    assert told(done) == set()


def test_boxes_bound_what_is_seen(stage, scenes):
    checked = Counter()
    for scene, item in ask("robot_box", scenes):
        entry, (name,), role = answer_of(item), item.about["objects"], item.about["role"]
        assert list(entry) == ["bbox_2d", "label"]
        assert item.about["boxes"] == [entry["bbox_2d"]]
        assert entry["label"] == scene.categories[scene.names.index(name)]
        sentence = item.about["instruction"]
        assert sentence.endswith(entry["label"]) or role == "target"
        if item.about["camera"] == "agentview":
            x1, y1, x2, y2 = entry["bbox_2d"]
            columns, rows = (a.ravel() for a in np.meshgrid(np.arange(x1 - 4, x2 + 4), np.arange(y1 - 4, y2 + 4)))
            shown = Eye(stage, scene).shows(name, columns, rows)
            found = [columns[shown].min(), rows[shown].min(), columns[shown].max() + 1, rows[shown].max() + 1]
            assert np.abs(np.subtract(found, entry["bbox_2d"])).max() <= 1, (item.answer, found)
            checked[role] += 1
    assert min(checked["target"], checked["place"]) >= 3, checked


def test_the_gripper_is_where_the_answer_says(stage, scenes):
    cameras = Counter()
    for scene, item in ask("robot_gripper", scenes):
        camera = item.about["camera"]
        cameras[camera] += 1
        eye, told = Eye(stage, scene), np.array(json.loads(item.answer))
        if camera == "agentview":
            np.testing.assert_allclose(told, eye.in_frame(eye.hand), atol=0.0051)
            np.testing.assert_array_equal(item.about["points"][0], np.floor(eye.pixel(eye.hand)))
            assert "field of view is 45.0 degrees" in item.question
        else:
            place = eye.hand * (1, -1 if scene.mirrored else 1, 1)
            pose = scene.world_to_camera[scene.cameras.index(camera)]
            np.testing.assert_allclose(told, pose[:3, :3] @ place + pose[:3, 3], atol=0.0051)
    assert set(cameras) == {"agentview", "view0"} or set(cameras) == {"agentview", "view0", "still"}
    assert cameras["agentview"] >= 4


def steps_of(play):
    return np.linspace(0, len(play.states) - 1, len(play.clip.frames)).round().astype(int)


def hand_at(stage, state):
    stage.simulator.set_state(state)
    return stage.simulator.sim.data._data.site("gripper0_grip_site").xpos.copy()


def test_traces_are_the_episodes_next_moments(stage, plays):
    sizes = Counter()
    for play, item in ask_clips("robot_trace", plays):
        path, start, frames = json.loads(item.answer), item.about["frame"], item.about["frames"]
        assert path == item.about["points"]
        np.testing.assert_array_equal(
            item.images[0], play.clip.frames[start].images[play.clip.frames[0].cameras.index(item.about["camera"])]
        )
        steps = steps_of(play)
        waits = [f"{(steps[frame] - steps[start]) / 20:.2f}" for frame in frames]
        assert re.findall(r"\d+\.\d\d", item.question) == waits
        assert play.clip.frames[0].task in item.question
        assert item.about["camera"] != "robot0_eye_in_hand"
        assert frames == list(range(start + 1, start + 1 + len(path)))
        sizes[len(path)] += 1
        if item.about["camera"] == "agentview":
            hands = [hand_at(stage, play.states[steps[frame]]) for frame in frames]
            eye = Eye(stage, play.clip.frames[start])
            np.testing.assert_array_equal(path, [np.floor(eye.pixel(hand)) for hand in hands])
    assert sizes[4] >= 4
    assert set(sizes) <= {2, 3, 4}


def gap_to(stage, play, frame, name, hand):
    """Distance in m from the hand, physical, to an object's box at a step of the episode."""
    scene = play.clip.frames[frame]
    pose, half = stage.reader.objects[scene.names.index(name)].pose(stage.simulator.sim.data._data)
    local = (hand - pose[:3, 3]) @ pose[:3, :3]
    return np.linalg.norm(local - np.clip(local, -half, half))


def test_what_is_reached_first_is_so_at_every_step(stage, plays):
    forms = Counter()
    for play, item in ask_clips("robot_reach_first", plays):
        (right, wrong), steps, frames = item.about["objects"], steps_of(play), item.about["frames"]
        assert frames == list(range(len(frames)))
        options = dict(re.findall(r"^([AB])\. the (.+)$", item.question, re.MULTILINE))
        scene = play.clip.frames[frames[-1]]
        camera = scene.cameras.index(item.about["camera"])
        for frame, image in list(zip(frames, item.images, strict=True))[:-1]:
            np.testing.assert_array_equal(image, play.clip.frames[frame].images[camera])
        for mark, name in zip(item.marks, (right, wrong), strict=True):
            assert scene.mask(camera, number=scene.names.index(name))[mark.row, mark.column]
            assert mark.image == len(frames) - 1
            assert scene.categories[scene.names.index(name)] not in item.question
        assert options[item.answer] == f"object with the {item.marks[0].name} point"
        assert scene.task not in item.question
        for step in range(steps[frames[-1]], len(play.states)):
            hand = hand_at(stage, play.states[step])
            gaps = [gap_to(stage, play, frames[-1], name, hand) for name in (right, wrong)]
            assert gaps[1] > 0.05, "the other object is reached before"
            if gaps[0] <= 0.041:
                break
        else:
            pytest.fail(f"the {right} is never reached")
        forms[item.kind] += 1
        assert ("video" in item.question) == (item.kind == "video") == (len(frames) > 1)
    assert min(forms[form] for form in ("mm_qa", "video")) >= 2, forms


def test_goals_are_judged_as_libero_does(stage, plays):
    forms = Counter()
    for play, item in ask_clips("robot_goal_now", plays):
        frame = play.clip.frames[item.about["frame"]]
        camera = frame.cameras.index(item.about["camera"])
        np.testing.assert_array_equal(item.images[0], frame.images[camera])
        stage.simulator.set_state(frame.state)
        truth = all(stage.simulator.problem._eval_predicate(list(goal)) for goal in item.about["goals"])
        assert item.answer == ("yes" if truth else "no")
        forms[item.about["form"], item.answer] += 1
        words = "alphabet soup is in the basket|the alphabet soup in the basket|" + frame.task
        assert re.search(words, item.question)
    assert min(forms[form, answer] for form in ("predicate", "task") for answer in ("yes", "no")) >= 1, forms


def test_yes_and_no_are_balanced(plays):
    ledger = Ledger()
    items = [item for _, item in ask_clips("robot_goal_now", plays * 3)]
    admitted = ledger.admit(items, count=len(items))
    said = Counter((item.contest[0].rsplit(" ", 1)[0], item.answer) for item in admitted)
    assert len(admitted) >= 6
    for sentence in {sentence for sentence, _ in said}:
        assert abs(said[sentence, "yes"] - said[sentence, "no"]) <= 1


def test_letters_of_what_is_reached_first_are_balanced(plays):
    items = [item for seed in range(6) for _, item in ask_clips("robot_reach_first", plays, seed=seed)]
    share = np.mean([item.answer == "A" for item in items])
    assert abs(share - 0.5) < 2 / np.sqrt(len(items))


@pytest.mark.parametrize("name", OF_SCENES + OF_CLIPS)
def test_a_family_is_a_function_of_what_it_is_given_and_the_generator(scenes, plays, name):
    about = scenes[:3] if name in OF_SCENES else [play.clip for play in plays]
    once, again = (ask(name, about, count=8, seed=5) for _ in range(2))
    assert once
    assert [(i.question, i.answer) for _, i in once] == [(i.question, i.answer) for _, i in again]
    assert [i.question for _, i in once] != [i.question for _, i in ask(name, about, count=8, seed=6)]
    for _, item in ask(name, about, count=8, short_prompt=True):
        assert "\n" not in item.question
        assert len(item.question) < 260
        record = item.to_record(name="one", data_source="test")
        assert json.loads(record["meta_info"])[0]["about"] == json.loads(json.dumps(dict(item.about)))


def test_a_scene_that_shows_nothing_gives_no_items(scenes, plays):
    def blind(scene):
        pose = scene.gripper.pose.copy()
        pose[:3, 3] += 9.0
        away = dataclasses.replace(scene.gripper, pose=pose)
        hidden = np.zeros_like(scene.instances), np.zeros_like(scene.visible)
        return dataclasses.replace(scene, instances=hidden[0], visible=hidden[1], gripper=away)

    for name in OF_SCENES:
        assert ask(name, [blind(scenes[0])]) == []
    clip = plays[0].clip
    frames = tuple(blind(frame) for frame in clip.frames)
    for name in OF_CLIPS:
        assert ask(name, [dataclasses.replace(clip, frames=frames)]) == []


def test_an_episode_that_stands_still_has_no_future(plays):
    frame = plays[0].clip.frames[0]
    still = Clip(frames=(frame,) * 8, times=plays[0].clip.times)
    assert ask("robot_trace", [still]) == []
    assert ask("robot_reach_first", [still]) == []
    assert {item.answer for _, item in ask("robot_goal_now", [still])} == {"no"}


def test_predicates_in_words():
    names = ("akita_black_bowl_1", "plate_1", "wooden_cabinet_1", "flat_stove_1", "wine_rack_1", "desk_caddy_1")
    parts = ("wooden_cabinet_1_top_drawer", "wooden_cabinet_1_top_drawer_handle")
    categories = ("akita black bowl", "plate", "wooden cabinet", "flat stove", "wine rack", "desk caddy")
    categories += ("top drawer of the wooden cabinet", "handle of the top drawer of the wooden cabinet")
    scene = SimpleNamespace(names=names + parts, categories=categories, parents=(-1,) * 6 + (2, 6))
    said = {
        ("on", "akita_black_bowl_1", "plate_1"): "on the plate",
        ("on", "plate_1", "akita_black_bowl_1"): "in the akita black bowl",
        ("in", "akita_black_bowl_1", "wooden_cabinet_1_top_region"): "in the top drawer of the wooden cabinet",
        ("on", "akita_black_bowl_1", "wooden_cabinet_1_top_side"): "on top of the wooden cabinet",
        ("on", "akita_black_bowl_1", "flat_stove_1_cook_region"): "on the flat stove",
        ("on", "akita_black_bowl_1", "wine_rack_1_top_region"): "on the wine rack",
        ("in", "plate_1", "desk_caddy_1_back_contain_region"): "in the back compartment of the desk caddy",
        ("open", "wooden_cabinet_1_top_region"): "open",
        ("turnon", "flat_stove_1"): "turned on",
    }
    assert {p: read_condition(scene, predicate=p).state for p in said} == said
    assert read_condition(scene, predicate=("open", "wooden_cabinet_1_top_region")).subject == 6
    for wordless in (
        ("on", "plate_1", "main_table_stove_front_region"),
        ("in", "plate_1", "desk_caddy_1_left_contain_region"),
        ("on", "ghost_1", "plate_1"),
        ("open", "wooden_cabinet_1_middle_region"),
    ):
        assert read_condition(scene, predicate=wordless) is None


def test_the_robot_mixture_stands_by_itself():
    assert set(compose("qa", ["mixture=robot"])["mixture"]) == set(OF_SCENES + OF_CLIPS)
    assert not set(compose("qa", [])["mixture"]) & set(OF_SCENES + OF_CLIPS)


def test_handles_are_gripped(has_full_assets):
    if not has_full_assets:
        pytest.skip("libero_goal needs LIBERO's assets")
    stage = Stage("libero_goal", task_id=0, assets=find_assets("libero_goal"))
    scene = stage.rearranged(shot_of(init_state=20, mirror=True), rng=np.random.default_rng(0))
    stage.close()
    items = [item for seed in range(6) for _, item in ask("robot_point", [scene], seed=seed)]
    told = {(item.about["instruction"], item.about["objects"][0]) for item in items}
    assert (scene.task, "wooden_cabinet_1_middle_drawer_handle") in told
    top = "wooden_cabinet_1_top_drawer_handle"
    assert ("take hold of the handle of the top drawer of the wooden cabinet", top) in told
