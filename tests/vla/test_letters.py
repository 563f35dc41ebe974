"""How a letter is read out of an answer, by each benchmark's rule."""

import pytest

from vst_vla.vla.benchmarks.letters import (
    fenced_letter,
    first_token,
    last_dotted_letter,
    option_letter,
    stated_letter,
)


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("b.", "B"),
        ("(c)", "C"),
        ("Answer: b", "B"),
        ("The answer is B because A is hidden", "B"),
        ("The answer is a cup on the left: B", "B"),
        ("I think B", "B"),
        ("A cup", None),
        ("It is a cup: A", "A"),
        ("**Answer: D**", "D"),
        ("Answer: a cup", None),
        ("Option A is wrong, so the answer is **C**.", "C"),
        ("Option A is right.", "A"),
        ("A or B", "A"),
        ("Because", None),
        ("E", None),
        ("", None),
    ],
)
def test_the_general_rule(answer, letter):
    assert stated_letter(answer, letters="ABCD") == letter


def test_the_first_word_of_vsi_bench():
    assert [first_token(text) for text in ("A.", "A. left", " 3.5 m", "", "The")] == ["A", "A", "3.5", "", "The"]


def test_the_fences_of_mmsi_bench():
    cases = {"``C``": "C", "`A`, so ``B``": "B", "x `D` y": "D", "{B}": "B", "so C": "C", "A cat": None, "`x`": None}
    assert {text: fenced_letter(text, letters="ABCD") for text in cases} == cases


def test_the_last_dot_of_mindcube():
    cases = {
        "A. one B. two": "B",
        "<Answer>My answer is C</Answer>": "C",
        "Answer: D": "D",
        "The answer is E": "E",
        "it is A\nor B maybe": "B",
        "none": None,
    }
    assert {text: last_dotted_letter(text) for text in cases} == cases


def test_the_options_of_sat():
    options = ["to the left", "to the right"]
    cases = {
        "(B)": "B",
        "It moved to the left": "A",
        "Answer: B": "B",
        "A": "A",
        "left, or to the right?": "B",
        "C": None,
        "a": "A",
        "(b)": "B",
        "**B**": "B",
        "a lamp": None,
    }
    assert {text: option_letter(text, options=options) for text in cases} == cases
