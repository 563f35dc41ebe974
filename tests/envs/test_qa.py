"""Questions and answers against the scenes they are about; datasets against their settings."""

import dataclasses
import itertools
import json
import re
import shutil
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.optimize import linear_sum_assignment

from vst_vla.envs.assets import find_assets
from vst_vla.envs.geometry import apply, box_corners, box_from_numbers
from vst_vla.envs.qa import FAMILIES, make_family
from vst_vla.envs.qa.generate import make_qa
from vst_vla.envs.qa.interview import Interview
from vst_vla.envs.qa.plan import QASettings, Shard, plan_shards
from vst_vla.envs.qa.stage import Stage
from vst_vla.envs.qa.variation import Variation
from vst_vla.envs.scene import SceneReader
from vst_vla.envs.simulator import Simulator
from vst_vla.envs.suites import get_task, init_state
from vst_vla.scripts import qa as qa_script
from vst_vla.vla.data.records import SpatialRecords

pytestmark = pytest.mark.sim
SIZE = 128
SINGLE = ["caption", "depth_order", "detection", "distance", "grounding", "measurement"]


@pytest.fixture(scope="module")
def scenes():
    """Six rearranged scenes, mirrored and physical by turns."""
    task = get_task("libero_object", task_id=0)
    simulator = Simulator(task)
    reader = SceneReader(simulator)
    variation, rng = Variation(simulator, objects=reader.objects), np.random.default_rng(0)
    made = []
    for index in range(6):
        variation.apply(init_state(task, index=20 + index), rng=rng)
        made.append(reader.capture(size=SIZE, mirror=index % 2 == 0))
    yield made
    simulator.close()


def ask(name, scenes, *, count=10, seed=0, **options):
    """(scene, item) pairs."""
    rng, family = np.random.default_rng(seed), make_family(name, **options)
    return [(scene, item) for scene in scenes for item in family(scene, count=count, rng=rng)]


def camera_of(scene, item):
    difference = np.abs(scene.images.astype(int) - item.images[0].astype(int)).sum(axis=(1, 2, 3))
    return int(np.argmin(difference))


def test_scenes_vary_and_stay_on_the_floor(scenes):
    places = np.array([scene.poses[:, :2, 3] * (1, -1 if scene.mirrored else 1) for scene in scenes])
    assert (places.std(axis=0).max(axis=1) > 0.03).all()
    for scene in scenes:
        bottoms = [
            box_corners(p, half_extents=h)[:, 2].min() for p, h in zip(scene.poses, scene.half_extents, strict=True)
        ]
        assert min(bottoms) > -0.02
    wrists = np.array([np.linalg.inv(scene.world_to_camera[1])[:3, 3] for scene in scenes])
    assert (np.abs(wrists[:, [0, 2]]).std(axis=0) > 0.03).all()


def test_the_same_state_and_generator_give_the_same_scene():
    task = get_task("libero_object", task_id=0)
    simulator = Simulator(task)
    variation = Variation(simulator, objects=SceneReader(simulator).objects)
    states = []
    for index in (25, 30, 25):
        variation.apply(init_state(task, index=index), rng=np.random.default_rng(3))
        states.append(simulator.get_state())
    simulator.close()
    np.testing.assert_array_equal(states[0], states[2])
    assert not np.array_equal(states[0], states[1])


def test_detection_answers_parse_back_to_the_scenes_boxes(scenes):
    pairs = ask("detection", scenes)
    assert len(pairs) == 60
    for scene, item in pairs:
        camera = camera_of(scene, item)
        lines = item.answer.splitlines()
        assert (lines[:2], lines[-2:]) == (["```json", "["], ["]", "```"])
        boxes = json.loads("\n".join(lines[1:-1]))
        assert len(boxes) == len(lines) - 4
        for line, box in zip(lines[2:-2], boxes, strict=True):
            assert line.startswith("\t{")
            assert list(box) == ["bbox_3d", "label"]
            assert all(re.fullmatch(r"-?\d+\.\d\d", n) for n in re.search(r"\[(.*)\]", line)[1].split(", "))
            assert all(-1 <= angle <= 1 for angle in box["bbox_3d"][6:])
            number = scene.categories.index(box["label"])
            pose, half_extents = box_from_numbers(np.array(box["bbox_3d"]))
            truth = box_corners(scene.poses[number], half_extents=scene.half_extents[number])
            truth = apply(scene.world_to_camera[camera], points=truth)
            gaps = np.linalg.norm(truth[:, None] - box_corners(pose, half_extents=half_extents), axis=-1)
            assert gaps[linear_sum_assignment(gaps)].max() < 0.018
            assert scene.visible[camera, number] >= 0.3


def test_detection_asks_for_what_it_answers_and_states_the_camera(scenes):
    sizes = Counter()
    for scene, item in ask("detection", scenes):
        labels = re.findall(r'"label": "(.*?)"', item.answer)
        sizes[len(labels)] += 1
        assert all(f"the {label}" in item.question for label in labels)
        for other in set(scene.categories) - set(labels):
            assert f"the {other}" not in item.question
        focal = scene.intrinsics[camera_of(scene, item), 0, 0]
        assert f"f_x={focal:.6f}" in item.question
        assert item.kind == "bbox_3d"
    assert sizes[1] >= 10
    assert max(sizes) >= 4


def test_short_prompts_are_one_line(scenes):
    questions = {item.question for _, item in ask("detection", scenes, short_prompt=True)}
    pattern = r"Detect the 3D boxes of the .+\. hfov (45\.00, vfov 45\.00|75\.00, vfov 75\.00), 128x128\."
    assert all(re.fullmatch(pattern, question) for question in questions)
    depth = [item.question for _, item in ask("depth_order", scenes, short_prompt=True)]
    assert all("\n" not in question and len(question) < 110 for question in depth)


def test_every_instance_of_an_asked_category_is_answered(scenes):
    scene = scenes[0]
    seen = [o for o in range(scene.num_objects) if scene.visible[0, o] > 0.9][:2]
    names = [("can" if o in seen else name) for o, name in enumerate(scene.categories)]
    twins = dataclasses.replace(scene, categories=tuple(names))
    answers = [item.answer for _, item in ask("detection", [twins], count=40)]
    assert {answer.count('"can"') for answer in answers} <= {0, 2}
    assert any('"can"' in answer for answer in answers)
    hidden = dataclasses.replace(twins, visible=np.where(np.arange(scene.num_objects) == seen[0], 0.1, twins.visible))
    assert not any('"can"' in item.answer for _, item in ask("detection", [hidden], count=40))
    assert not any("can" in item.question for _, item in ask("depth_order", [twins], count=40) if not item.marks)


def test_depth_answers_agree_with_the_raw_depth(scenes):
    pairs = ask("depth_order", scenes, count=30)
    forms = Counter()
    for scene, item in pairs:
        depth, instances = (a[camera_of(scene, item)] for a in (scene.depth, scene.instances))
        if item.about["form"] == "letters":
            forms["letters"] += 1
            values = {mark.name: depth[mark.row, mark.column] for mark in item.marks}
            order = item.answer.split(", ")
            far_first = order if re.search("far to near|to the nearest|farthest first", item.question) else order[::-1]
            assert far_first == sorted(values, key=values.get, reverse=True)
            assert all(values[a] - values[b] >= 0.05 for a, b in itertools.pairwise(far_first))
            continue
        named = [n for n in set(scene.categories) if re.search(rf"the {n} \{{|-point {n}\b", item.question)]
        assert len(named) == 2
        middle = {n: np.median(depth[instances == scene.categories.index(n) + 1]) for n in named}
        near, far = sorted(named, key=middle.get)
        right = far if re.search("farther|more distant|larger depth", item.question) else near
        assert item.answer == re.search(rf"the ((\w+-point )?{right})\b", item.question)[1]  # with a point it has
        assert item.contest[0].split(", ")[0] == right
        assert middle[far] - middle[near] >= 0.05
        forms["points" if item.marks else "named"] += 1
    assert min(forms["letters"], forms["points"], forms["named"]) >= 10


def test_two_dimensional_boxes_bound_the_visible_pixels(scenes):
    found = 0
    for scene, item in ask("depth_order", scenes, count=20):
        instances = scene.instances[camera_of(scene, item)]
        for name, text in re.findall(r'the ([a-z ]+) \{"bbox_2d": (\[.*?\])\}', item.question):
            x1, y1, x2, y2 = json.loads(text)
            mask = instances == scene.categories.index(name) + 1
            assert mask[y1:y2, x1:x2].sum() == mask.sum()
            assert mask[y1].any()
            assert mask[:, x2 - 1].any()
            found += 1
    assert found >= 20


def test_points_are_drawn_on_their_objects(scenes):
    for scene, item in ask("depth_order", scenes, count=20):
        if item.about["form"] == "points":
            camera = camera_of(scene, item)
            for colour, row, column, _ in item.marks:
                name = scene.categories[scene.instances[camera, row, column] - 1]
                assert re.search(rf"the {colour}-point {name}\b", item.question)
                assert tuple(item.images[0][row, column]) != tuple(scene.images[camera, row, column])


def test_answers_are_balanced(scenes):
    first, letters = [], Counter()
    for scene, item in ask("depth_order", scenes, count=60):
        if item.about["form"] == "letters":
            letters[item.answer[0]] += 1
        else:
            named = {n: re.search(rf"(the|point) {n}\b", item.question) for n in scene.categories}
            first.append(item.contest[0].startswith(f"{min((f.start(), n) for n, f in named.items() if f)[1]}, "))
    assert 0.4 < np.mean(first) < 0.6
    assert min(letters[x] for x in "ABC") > 0.15 * letters.total()


def test_nothing_to_see_gives_no_items(scenes):
    empty = dataclasses.replace(
        scenes[0], instances=np.zeros_like(scenes[0].instances), visible=np.zeros_like(scenes[0].visible)
    )
    for name in SINGLE:
        assert ask(name, [empty]) == []


@pytest.mark.parametrize("name", SINGLE)
def test_a_family_is_a_function_of_scene_and_generator(scenes, name):
    once, again = (ask(name, scenes[:2], seed=5) for _ in range(2))
    assert [(i.question, i.answer) for _, i in once] == [(i.question, i.answer) for _, i in again]
    other = ask(name, scenes[:2], seed=6)
    assert [i.question for _, i in once] != [i.question for _, i in other]


def test_unknown_families_and_options_are_refused():
    with pytest.raises(ValueError, match="unknown question family 'detecton': did you mean 'detection'"):
        make_family("detecton")
    with pytest.raises(ValueError, match="unknown option of detection 'short_promt': did you mean 'short_prompt'"):
        make_family("detection", short_promt=True)


SMALL = {
    "mixture": {"detection": 3, "depth_order": 2},
    "suite": "libero_object",
    "task_ids": [0],
    "num_items": 20,
    "shard_size": 5,
    "image_size": 64,
    "extra_views": 1,
    "seed": 1,
    "progress": False,
}


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qa") / "one"
    return folder, make_qa(folder, **SMALL, num_workers=1)


def test_a_dataset_is_vst_records(dataset):
    folder, manifest = dataset
    table = pq.read_table(folder / "part-00000.parquet").to_pylist()
    assert list(table[0]) == ["conversations", "id", "data_source", "images", "type", "meta_info"]
    records = SpatialRecords(folder)
    assert len(records) == 20
    assert records.skipped == []
    assert len({r["id"] for r in records}) == 20
    assert {r["images"][0].shape for r in records} == {(64, 64, 3)}
    assert Counter(r["type"] for r in records) == {"bbox_3d": 12, "mm_qa": 8} == manifest["counts"]["type"]
    meta = records[0]["meta_info"][0]
    assert {"width": 64, "height": 64, "resized_width": -1, "resized_height": -1}.items() <= meta.items()
    assert meta["thinking"] is False
    assert meta["level"] in {"L1", "L2"}
    assert meta["about"]["objects"]


def test_the_manifest_says_what_the_dataset_is(dataset):
    folder, manifest = dataset
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert manifest["complete"]
    assert manifest["counts"]["family"] == {"depth_order": 8, "detection": 12}
    assert sum(manifest["counts"]["level"].values()) == manifest["num_items"] == 20
    assert manifest["assets"] in {"official", "stand-in", "placeholder"}
    assert min(manifest["settings"]["init_states"]) == 20


def test_two_workers_that_resume_a_run_give_the_same_bytes(dataset, tmp_path):
    folder, manifest = dataset
    resumed = tmp_path / "resumed"
    shutil.copytree(folder, resumed)
    (resumed / "part-00000.parquet").unlink()
    (resumed / "part-00001.parquet").unlink()
    (resumed / "part-00003.parquet").write_bytes(b"cut short")
    assert make_qa(resumed, **SMALL, num_workers=2) == manifest
    assert shard_bytes(resumed) == shard_bytes(folder)
    assert sorted(p.name for p in resumed.iterdir()) == sorted(p.name for p in folder.iterdir())


def test_a_folder_of_other_settings_is_refused(dataset):
    folder, _ = dataset
    before = shard_bytes(folder)
    with pytest.raises(ValueError, match="made with seed=1, not 2"):
        make_qa(folder, **(SMALL | {"seed": 2}))
    assert shard_bytes(folder) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite": "libero_objects"}, "unknown suite 'libero_objects': did you mean 'libero_object'"),
        ({"task_ids": [10]}, "task_id 10 is out of range"),
        ({"num_items": 0}, "num_items 0 is out of range"),
        ({"image_size": 16}, "image_size 16 is out of range"),
        ({"mixture": {"detectoin": 1.0}}, "unknown question family 'detectoin': did you mean 'detection'"),
        ({"mixture": {"detection": -1}}, "weight -1"),
        ({"mixture": {"detection": 0}}, "no family is left"),
        ({"families": ["depth"]}, "unknown question family 'depth': did you mean 'depth_order'"),
        (
            {"families": ["detection"], "mixture": {"depth_order": 1}},
            "no weight in this mixture: give mixture.detection",
        ),
        ({"levels": ["L4"]}, "unknown level 'L4'"),
        ({"levels": ["L0"]}, "no family is left"),
        ({"episode_share": 0.5}, "nobody plays episodes"),
        ({"invented_names": 1.5}, r"invented_names 1.5 is out of range: give a number from 0 to 1"),
        ({"varied_looks": -0.1}, r"varied_looks -0.1 is out of range: give a number from 0 to 1"),
        ({"invented_names": 0.5}, r"invented_names is 0.5.*give points=true"),
        ({"image_size": 65}, "image_size 65 is odd"),
        ({"cameras": ["frontview"]}, "unknown camera 'frontview'"),
        ({"init_states": [50]}, "init_state 50 is out of range: task 0 has 0 to 49"),
        ({"task_ids": []}, "there is no task"),
        ({"cameras": [], "extra_views": 0}, "give at least one camera"),
        ({"suite": ["libero_object", "libero_gaol"], "task_ids": None}, "unknown suite 'libero_gaol'"),
        ({"launcher": "slurm"}, "unknown launcher 'slurm'"),
        ({"num_workers": 0}, "num_workers 0 is too small"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        make_qa(tmp_path / "out", **(SMALL | changes))
    assert not (tmp_path / "out").exists()


def test_a_family_that_no_scene_allows_is_given_up(monkeypatch):
    monkeypatch.setattr("vst_vla.envs.qa.interview.BARREN_SCENES", 2)
    stage = Stage("libero_object", task_id=0, assets=find_assets("libero_object"))
    monkeypatch.setitem(FAMILIES, "depth_order", Barren)
    shard = Shard(number=0, suite="libero_object", task_id=0, wanted=(("depth_order", 3),))
    with pytest.raises(ValueError, match="allow no question of family depth_order"):
        list(Interview(settings_of(image_size=32), shard, stage=stage).run())
    stage.close()


@dataclasses.dataclass(frozen=True)
class Barren:
    """A family that finds nothing."""

    name = "depth_order"
    level = "L2"
    short_prompt: bool = False

    def __call__(self, scene, *, count, rng):
        return []


def settings_of(**changes):
    base = {
        "tasks": (("libero_object", 0),),
        "num_items": 10,
        "families": (("detection", 1.0),),
        "seed": 0,
        "image_size": 64,
        "mirror": True,
        "short_prompt": False,
        "cameras": ("agentview",),
        "extra_views": 0,
        "episodes": "",
        "episode_share": 0.0,
        "items_per_scene": 10,
        "items_per_clip": 4,
        "shard_size": 128,
        "init_states": (20,),
    }
    return QASettings(**(base | changes))


def test_items_are_spread_evenly_over_tasks_and_shards():
    tasks = tuple(("libero_object", number) for number in (3, 1, 4))
    shards = plan_shards(settings_of(tasks=tasks, num_items=700, shard_size=100))
    assert [s.number for s in shards] == list(range(len(shards)))
    per_task = Counter()
    for shard in shards:
        per_task[shard.task_id] += shard.num_items
        assert shard.num_items <= 100
    assert per_task == {3: 234, 1: 233, 4: 233}


def test_the_verb_makes_a_dataset_and_says_so(tmp_path, capsys):
    out = tmp_path / "made"
    argv = [f"out={out}", "task_ids=[0]", "num_items=4", "image_size=48", "num_workers=1", "families=[detection]"]
    argv += ["episodes=null", "episode_share=0"]
    assert qa_script.main(argv) == 0
    assert "4 questions (" in capsys.readouterr().out
    assert len(SpatialRecords(out)) == 4


def test_the_verb_hints_at_a_misspelt_key():
    with pytest.raises(ValueError, match=r"num_item'.*did you mean 'num_items'"):
        qa_script.main(["num_item=4"])
