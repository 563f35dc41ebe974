"""The checkers in qa_truth/: they accept what every family says and refuse it when it is falsified."""

import dataclasses
import importlib.util
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from qa_truth import CHECKERS, check
from qa_truth.case import Case
from qa_truth.hulls import filled, hull_agreement
from qa_truth.moment import World
from qa_truth.pictures import pictures_show

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.stage import Episode, Shot, Stage
from vst_vla.policies.episode_states import expert_states
from vst_vla.vla.fov import FovTarget, unify_record

pytestmark = pytest.mark.sim
SIZE = 128
CAMERAS = ("agentview", "robot0_eye_in_hand")


@pytest.fixture(scope="module")
def asked():
    """Family -> cases, about two scenes and a clip of things that move from one arrangement to another."""
    stage, rng = Stage("libero_object", task_id=2, assets=find_assets("libero_object")), np.random.default_rng(3)
    world = World(stage.simulator, size=SIZE)
    shots = [
        Shot(cameras=CAMERAS, extra_views=2, image_size=SIZE, mirror=mirror, init_states=(20, 30)) for mirror in (0, 1)
    ]
    scenes = [stage.rearranged(shot, rng=rng) for shot in shots]
    states = np.linspace(scenes[0].state, scenes[1].state, num=40)
    clip = stage.clip(Episode(states=states, init_state=20), shots[1], rng=rng)
    about = [(scene, (world.moment(scene),)) for scene in scenes]
    clips = [(clip, tuple(world.moment(frame) for frame in clip.frames))]
    made = {}
    for name in CHECKERS:
        family = make_family(name)
        pairs = clips if getattr(family, "takes_clips", False) else about
        made[name] = [Case(item, moments) for what, moments in pairs for item in family(what, count=12, rng=rng)]
    yield made
    stage.close()


@pytest.mark.parametrize("name", CHECKERS)
def test_what_a_family_says_holds_and_the_contrary_does_not(asked, name):
    assert asked[name]
    refused = 0
    for case in asked[name]:
        check(case)
        for answer in falsified(case.item):
            with pytest.raises(AssertionError):
                check(Case(dataclasses.replace(case.item, answer=answer), case.moments))
            refused += 1
    assert refused >= len(asked[name]) / 2


def falsified(item):
    """Wrong answers of the same form, if any."""
    options = re.findall(r"^([A-F])\. ", item.question, re.MULTILINE)
    if options:
        return [letter for letter in options if letter != item.answer]
    if item.kind == "bbox_3d":
        return [re.sub(r"\[(-?[\d.]+)", lambda found: f"[{float(found[1]) + 0.04:.2f}", item.answer)]
    if item.contest:
        return [item.contest[1].split(", ")[0]]
    if item.answer.startswith("point-"):
        return [f"point-{number}" for number in range(1, 5) if f"point-{number}" != item.answer]
    if re.fullmatch(r"[A-E](, [A-E])+", item.answer):
        return [", ".join(item.answer.split(", ")[::-1])]
    if re.fullmatch(r"\d+", item.answer):
        return [str(int(item.answer) + 3)]
    wrong = re.sub(r"\d+(\.\d+)?(?= m\b|$)", lambda found: f"{float(found[0]) + 0.05:.2f}", item.answer)
    wrong = re.sub(r"\d+(?= cm)", lambda found: str(int(found[0]) + 5), wrong)
    return [wrong] if wrong != item.answer else []


def test_pictures_of_something_else_are_refused(asked):
    for name in ("detection", "mi_camera_motion", "video_order"):
        case = asked[name][0]
        turned = tuple(image[:, ::-1] for image in case.item.images)
        with pytest.raises(AssertionError, match="something else"):
            pictures_show(Case(dataclasses.replace(case.item, images=turned), case.moments))


def test_projected_boxes_cover_what_is_seen_of_unhidden_objects(asked):
    rows = {}
    for case in asked["detection"]:
        for name, found in hull_agreement([case]).items():
            rows.setdefault(name, []).extend(found)
    table = np.array([row for found in rows.values() for row in found])
    assert len(table) >= 10
    assert np.median(table[:, 1]) > 0.99
    assert table[:, 1].min() > 0.75  # two decimals move a side of something small by a pixel
    assert np.median(table[:, 0]) > 0.7


def test_unified_pictures_have_the_same_metric_geometry(asked):
    """The stated camera of a unified picture projects the boxes onto what the picture shows of the objects."""
    lenses = set()
    for case in asked["detection"]:
        moment, eye = case.moment, case.moment.eye(case.camera)
        lenses.add(round(eye.focal))
        record = case.item.to_record(name="a", data_source="b") | {"images": list(case.item.images)}
        unified = unify_record(record, target=FovTarget())
        text, (picture,) = unified["conversations"][0]["value"], unified["images"]
        hfov, width = (float(re.search(rf"{word}=([\d.]+)", text)[1]) for word in ("hfov", "width"))
        assert width / 2 / math.tan(math.radians(hfov) / 2) == pytest.approx(FovTarget().focal, rel=0.003)
        for thing in case.things:
            seen = eye.sees(moment.points(thing))
            if seen[:, 2].min() < 0.05 or moment.pixels(case.camera, thing) < 100:
                continue
            spots = (0.5 + seen[:, :2] / seen[:, 2:] / (2 * math.tan(math.radians(hfov) / 2))) * picture.shape[1]
            mask = Image.fromarray(moment.alone(case.camera, thing)).resize(
                picture.shape[1::-1], Image.Resampling.NEAREST
            )
            inside = spots.min() > 0 and spots.max() < picture.shape[1]
            assert not inside or (filled(spots, picture.shape[1]) & np.asarray(mask)).sum() > 0.95 * np.sum(mask)
    assert len(lenses) >= 3


def test_a_task_is_made_checked_and_summed_up():
    record, families = load("qa_truth_record"), ["detection", "distance"]
    chosen = SimpleNamespace(items=3, tasks="libero_object:0", families=families, image_size=64, seed=0)
    (work,) = record.plan(chosen)
    found = record.check_task(work)
    written = record.summary([found], families=families)
    assert written["agree"] == written["items"] == 6
    assert written["families"]["distance"] == {"items": 3, "agree": 3, "reasons": []}


def load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_lit_stove_and_a_hand_at_its_knob(has_full_assets):
    if not has_full_assets:
        pytest.skip("needs LIBERO's assets")
    stage, rng = Stage("libero_goal", task_id=7, assets=find_assets("libero_goal")), np.random.default_rng(0)
    world = World(stage.simulator, size=SIZE)
    states = expert_states(stage.simulator, init_state=20, rng=rng, vary=False)
    assert states[0, 1 + world.burners[0][1]] < 0.5 <= states[-1, 1 + world.burners[0][1]], "it is turned on meanwhile"
    shot = Shot(cameras=CAMERAS, extra_views=2, image_size=SIZE, mirror=True, init_states=(20, 21))
    family, answers = make_family("video_caption"), []
    for _ in range(3):
        clip = stage.clip(Episode(states=states, init_state=20), shot, rng=rng)
        moments = tuple(world.moment(frame) for frame in clip.frames)
        for item in family(clip, count=6, rng=rng):
            check(Case(item, moments))
            answers.append(item.answer)
    assert any("At the end, the gripper holds the knob of the flat stove." in answer for answer in answers)
    stage.close()
