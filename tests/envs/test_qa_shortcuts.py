"""The text-only baselines find what a text gives away, and nothing where it gives nothing away."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from vst_vla.envs.qa.plan import plan_shards

BENCH = Path(__file__).resolve().parents[1] / "bench"


def load(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


shortcuts = load("qa_shortcuts")
NAMES = ("milk", "butter", "basket", "plate", "bowl")


def contests(habit, *, count=400):
    """Which of two is nearer; the habit says how likely the earlier of two names wins."""
    rng, made = np.random.default_rng(0), []
    for number in range(count):
        pair = sorted(rng.permutation(len(NAMES))[:2])
        winner = pair[0] if rng.random() < habit else pair[1]
        shown = rng.permutation(pair)
        question = f"Which is nearer, the {NAMES[shown[0]]} or the {NAMES[shown[1]]}?"
        loser = next(n for n in pair if n != winner)
        names = [NAMES[winner], NAMES[loser]]
        made.append({"family": "f", "fold": number % 5, "question": question, "answer": names[0], "names": names})
    return [shortcuts.as_choice(row) for row in made]


def test_a_habit_is_found():
    found = shortcuts.tested(contests(0.9))
    assert found["chance"] == 0.5
    assert found["bag_of_words"] > 0.85
    assert found["best"] >= found["most_frequent_candidate"] > 0.75


def test_nothing_is_found_where_nothing_is_given_away():
    assert shortcuts.tested(contests(0.5))["best"] < 0.58


def test_a_place_that_is_right_too_often_is_found():
    choices = [choice._replace(right=0) for choice in contests(0.5)]
    assert shortcuts.tested(choices)["most_frequent_place"] == 1.0


@pytest.mark.parametrize(
    ("question", "answer", "names", "candidates", "right"),
    [
        ("Where?\nA. left\nB. front left\nC. back\nAnswer with the option's letter.", "B", ["front left"], None, 1),
        ("Which point?", "point-3", [], ("point-1", "point-2", "point-3", "point-4"), 2),
        ("Order the points A, B and C.", "C, A, B", [], ("A", "B", "C"), 2),
        ("Is it closed now?", "no", [], ("yes", "no"), 1),
        ("Where? Answer with one of: north, east or south.", "east", ["east"], ("north", "east", "south"), 1),
        ("The milk or the butter?", "butter", ["butter", "milk"], ("milk", "butter"), 1),
        (
            "The red-point milk or the blue-point butter?",
            "blue-point butter",
            ["butter", "milk"],
            ("milk", "butter"),
            1,
        ),
        ("Two or the red mug?", "red mug", ["red mug"], (), None),
    ],
)
def test_candidates_are_read_from_the_text(question, answer, names, candidates, right):
    row = {"family": "f", "fold": 0, "question": question, "answer": answer, "names": names}
    choice = shortcuts.as_choice(row)
    if right is None:
        assert choice is None
        return
    assert choice.right == right
    assert choice.candidates == (candidates or ("left", "front left", "back"))


@pytest.mark.sim
def test_a_small_run_is_recorded(tmp_path):
    parser, out, texts = shortcuts.parser(), tmp_path / "record.json", tmp_path / "texts.json"
    arguments = ["--items", "12", "--families", "depth_order", "mi_camera_motion", "--image-size", "96"]
    arguments += ["--shard-size", "6", "--margin", "1.0", "--texts", str(texts), "--out", str(out)]
    settings = dataclasses.replace(shortcuts.plan(parser.parse_args(arguments)), tasks=(("libero_object", 0),))
    texts.write_text(json.dumps(shortcuts.ask(settings, plan_shards(settings))))
    assert shortcuts.main(arguments) == 0
    record = json.loads(out.read_text())
    assert record["choices"] == 12
    assert set(record["results"]) == {"depth_order", "mi_camera_motion"}
    assert 0.2 < record["results"]["depth_order"]["chance"] <= 0.5
