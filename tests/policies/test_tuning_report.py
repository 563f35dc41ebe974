"""What stages of tuning did, on answers whose differences are known."""

from __future__ import annotations

import json

import pytest

from vst_vla.policies.tuning_data import apart, object_kinds
from vst_vla.policies.tuning_report import choice_rows, fallen, family_rows, form_rows, lifted
from vst_vla.vla.benchmarks import make_benchmark
from vst_vla.vla.benchmarks.item import Item

JUDGE = make_benchmark({"name": "held_out"})
COUNT = 40


def item(number, family="depth_order", truth=None, mode="multi_choices_score"):
    return Item(
        id=f"{family}-{number}",
        category=family,
        prompt="Which?",
        truth=truth or "AB"[number % 2],
        group=f"picture {number // 4}",
        about={"modes": [mode], "level": "L2", "form": ""},
    )


def scored(items, reply):
    return [JUDGE.score(entry, reply=reply(place, entry)) for place, entry in enumerate(items)]


ITEMS = [item(n) for n in range(COUNT)] + [item(n, "distance", f"{n + 1}", "relaxed_score") for n in range(COUNT)]


@pytest.fixture(scope="module")
def rows():
    answers = {
        "start": scored(ITEMS, lambda n, entry: ""),
        "sft": scored(ITEMS, lambda n, entry: entry.truth if n % 4 else "A"),
        "grpo": scored(ITEMS, lambda n, entry: entry.truth if n < COUNT or n % 2 else "none"),
    }
    return family_rows(JUDGE, answers, families=["depth_order", "caption", "distance"])


def test_a_row_has_its_scores_its_guess_and_its_differences(rows):
    depth, caption, distance = rows
    assert caption == {"family": "caption", "num_items": 0, "why": "free text, which no rule scores"}
    assert depth["scores"] == {"start": 0.0, "sft": 1.0, "grpo": 1.0}  # every fourth truth is an A
    assert depth["guessing"] == pytest.approx(0.5, abs=0.03)
    assert distance["guessing"] == pytest.approx(0.0, abs=0.03)  # within 5 % lies no other whole number below 20
    assert distance["scores"] == {"start": 0.0, "sft": 0.75, "grpo": 0.5}
    assert (depth["num_items"], depth["num_pictures"]) == (COUNT, COUNT // 4)
    gain = depth["over_guessing"]["sft"]
    assert gain["difference"] == pytest.approx(1 - depth["guessing"], abs=1e-4)
    assert gain["ci95"][0] <= gain["difference"] <= gain["ci95"][1]
    assert distance["over_previous"]["sft"] == {"difference": 0.75, "ci95": [0.75, 0.75]}  # the same in every picture


def test_lifted_and_fallen_families_are_named(rows):
    assert lifted(rows, stage="start") == []
    assert lifted(rows, stage="sft") == ["depth_order", "distance"]
    assert fallen(rows)["sft"] == []
    (loss,) = fallen(rows)["grpo"]
    assert (loss["family"], loss["difference"]) == ("distance", -0.25)


def test_stages_that_were_asked_other_questions_are_refused():
    answers = {"start": scored(ITEMS, lambda n, e: ""), "sft": scored(ITEMS[1:], lambda n, e: "")}
    with pytest.raises(ValueError, match="stages 'start' and 'sft' were asked different questions"):
        family_rows(JUDGE, answers, families=["depth_order"])
    with pytest.raises(ValueError, match="were asked different questions"):
        choice_rows(answers)


def test_form_and_letters_after_reasoning():
    items = [*ITEMS[:COUNT], item(0, "reason_single", "the milk", "vqa_score")]
    answers = {
        "sft": scored(items, lambda n, entry: "A"),
        "cold_start": scored(items, lambda n, entry: "<think>so</think>A" if n else "<think>so"),
        "grpo": scored(items, lambda n, entry: f"<think>so</think>{entry.truth}"),
    }
    forms, choices = form_rows(answers), choice_rows(answers)
    assert forms["sft"]["well_formed"]["share"] == 0
    assert forms["cold_start"]["well_formed"]["share"] == pytest.approx(COUNT / (COUNT + 1), abs=1e-4)
    assert choices["cold_start"]["num_choices"] == COUNT
    assert choices["cold_start"]["right"]["share"] == pytest.approx(0.5 - 1 / COUNT)
    assert "over_previous" not in choices["sft"]
    change = choices["grpo"]["over_previous"]
    assert change["difference"] == pytest.approx(0.5 + 1 / COUNT)
    assert change["ci95"][0] > 0
    assert change["mcnemar_p"] < 1e-4
    json.dumps([forms, choices], allow_nan=False)


def test_what_training_and_tests_share(tmp_path):
    def dataset(folder, tasks, states, cameras, seed):
        settings = {"tasks": tasks, "init_states": states, "cameras": cameras, "seed": seed}
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "manifest.json").write_text(json.dumps({"settings": settings}))

    dataset("training/object", [["libero_object", 0]], [20, 21], ["agentview"], 0)
    dataset("training/ten", [["libero_10", 0]], [20], ["agentview"], 0)
    dataset("near/a", [["libero_object", 0]], [21, 3], ["agentview"], 1)
    dataset("far/a", [["libero_spatial", task] for task in range(10)], [0], [], 1000)
    near, far = (apart(tmp_path / "training", tmp_path / name) for name in ("near", "far"))
    assert near["shared_scenes"] == ["('libero_object', 0, 21)"]
    assert near["shared_cameras"] == ["agentview"]
    assert {"alphabet_soup", "basket"} <= set(near["shared_objects"])
    assert (far["shared_scenes"], far["shared_cameras"], far["shared_objects"]) == ([], [], [])
    assert {"plate", "akita_black_bowl"} <= set(far["test_objects"])
    assert (far["training_seeds"], far["test_seeds"]) == ([0], [1000])


def test_the_ground_is_no_object():
    problem = "(:fixtures\n kitchen_table - kitchen_table\n flat_stove_1 - flat_stove\n)(:objects\n a_1 a_2 - milk\n)"
    assert object_kinds(problem) == {"flat_stove", "milk"}
