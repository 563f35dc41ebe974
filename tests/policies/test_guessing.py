"""Chance, on questions whose chance is known."""

from __future__ import annotations

import pytest

from vst_vla.policies.guessing import guesses
from vst_vla.vla.benchmarks import make_benchmark
from vst_vla.vla.benchmarks.item import Item

JUDGE = make_benchmark({"name": "held_out"})


def asked(*questions, form="", mode="vqa_score"):
    items = [
        Item(id=f"{n}", category="f", prompt=prompt, truth=truth, about={"modes": [mode], "level": "", "form": form})
        for n, (prompt, truth) in enumerate(questions)
    ]
    return [JUDGE.score(item, reply="") for item in items]


def test_of_two_named_objects_each_is_right_half_of_the_time():
    entries = asked(
        ("Which is nearer, the milk or the plate?", "milk"),
        ("Which is nearer, the cup or the plate?", "plate"),
        ("Which is nearer, the cup or the milk?", "cup"),
        ("Which is nearer, the bowl or the cup?", "bowl"),
    )
    assert guesses(JUDGE, entries) == [0.5, 0.5, 0.5, 0.5]


def test_the_anchor_before_the_options_is_no_option():
    entries = asked(
        ("What is nearest to the plate: the milk or the cup?", "milk"),
        ("What is nearest to the milk: the cup or the plate?", "plate"),
        ("What is nearest to the milk: the cup or the plate?", "cup"),
    )
    assert guesses(JUDGE, entries) == [0.5, 0.5, 0.5]


def test_only_letters_on_offer_are_guessed():
    two, four = "Which? A left, B right.", "Which? A left, B right, C up, D down."
    entries = asked((two, "A"), (two, "B"), (four, "C"), (four, "D"), mode="multi_choices_score")
    assert guesses(JUDGE, entries) == [0.5, 0.5, 0.25, 0.25]


def test_numbers_are_guessed_from_other_items_of_the_same_form():
    near = asked(*[("How far, in meters?", f"{n}.0") for n in range(1, 5)], form="near", mode="mra_score")
    far = asked(*[("How far, in meters?", "90") for _ in range(3)], form="far", mode="mra_score")
    level = guesses(JUDGE, [*near, *far])
    assert level[4:] == [1.0, 1.0, 1.0], "whoever always says 90 is right about all of these"
    assert all(0 <= value < 0.5 for value in level[:4])
    assert guesses(JUDGE, asked(("How far?", "3"), mode="mra_score")) == [0.0]
    assert guesses(JUDGE, near[:2])[1] == pytest.approx(0.1)  # 1 instead of 2 is off by half
