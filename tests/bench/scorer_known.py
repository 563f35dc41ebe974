"""What scorer_agreement.py knows of differences between our scorers and lmms-eval's: which side differs, and why."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """Why replies of some forms are scored differently."""

    benchmarks: str  # by name, with spaces between
    why: str
    forms: tuple[str, ...]
    fits: str | None = "ours"  # whose score fits what such a reply says, "ours" or "lmms_eval"; None: not checked


FIRST_WORD = "lmms-eval takes the first letter of the first word, whatever the word; here the letter that is stated"
SENTENCES = "lmms-eval reads no letter in marks, nor one in a sentence without the word answer; here it is read"
ARTICLE = (
    "here a capital A before a small word is the article, unless that is and, is or or; lmms-eval takes the letter"
)
SMALL = "here a small letter counts by itself, in round brackets or after a colon; lmms-eval takes it elsewhere too"
SPACE = "lmms-eval ends the first word at a space alone, not at the end of a line; here at any white space"
UNCLOSED = "lmms-eval reads reasoning that never closes as the answer; here such a reply has none"
LISTS = "lmms-eval gathers boxes out of anything; here a reply is a list as VST's records have it, or cannot be read"
IN_MARKS = ("[{X}]", "**{X}**", "**{X}. {t}**", "\\boxed{{{X}}}", "``{X}``", "`{X}`", '{{"answer": "{X}"}}')
IN_TAGS = ("<answer>{X}</answer>", "<Answer>{X}</Answer>")
IN_SENTENCES = (
    "Option {X}", "Option {X} is right.", "Because it is nearer, I choose {X}", "It stands there, so it is {X}.",
    "The lamp is in front of it.\n{X}",
)  # fmt: skip
CALLED_ANSWER = (
    "The answer is {X}", "The answer is {X}.", "The correct answer is ({X}).", "My answer is {X}", "Answer: {X}",
    "answer: {x}", "**Answer: {X}**", "It is not {W}, so the answer is {X}.",
    "{W} is too far away. The answer is {X}.", "<think>\n({W}) is near.\n</think>\n\nThe answer is {X}.",
)  # fmt: skip

KNOWN = (
    Known("vsi_bench", UNCLOSED, ("<think>{v}",), fits=None),
    Known(
        "vsi_bench",
        SPACE,
        ("{X}\nThe lamp is in front of it.",),
    ),
    Known(
        "vsi_bench",
        "lmms-eval reads plain digits alone; here also .8 and 1.4e+00, as the authors' float() does, and 1,400",
        ("{thousands}", "{point}", "{exponent}"),
        fits=None,
    ),
    Known("mmsi_bench 3dsrbench mindcube spatial_dise", UNCLOSED, ("<think>It must be {X}",), fits="lmms_eval"),
    Known(
        "mmsi_bench",
        "lmms-eval takes small letters too; here capitals alone, which is the rule that the authors publish",
        ("{x}", "({x})", "``{x}``", "the answer is {x}", "answer: {x}"),
        fits="lmms_eval",
    ),
    Known("cv_bench embspatial blink 3dsrbench spatial_dise", ARTICLE, ("{X} {t}",), fits="lmms_eval"),
    Known("cv_bench embspatial blink 3dsrbench spatial_dise", ARTICLE, ("A chair stands there.",)),
    Known("cv_bench embspatial blink 3dsrbench spatial_dise", ARTICLE, ("A chair is nearer: {X}",)),
    Known("cv_bench embspatial", FIRST_WORD, (*IN_MARKS, *IN_TAGS, *IN_SENTENCES, *CALLED_ANSWER)),
    Known("blink", SENTENCES, (*IN_MARKS, *IN_TAGS, *IN_SENTENCES)),
    Known("blink spatial_dise", SMALL, ("the answer is {x}",), fits="lmms_eval"),
    Known("spatial_dise", SMALL, ("``{x}``",), fits="lmms_eval"),
    Known("3dsrbench", "lmms-eval takes capitals alone; here small letters too", ("{x}", "({x})", "answer: {x}")),
    Known(
        "3dsrbench spatial_dise",
        "lmms-eval prefers a letter at the reply's start; here the last letter that is called the answer comes first",
        ("{W} is too far away. The answer is {X}.",),
    ),
    Known(
        "spatial_dise",
        "lmms-eval takes the A of <Answer> for the letter; here the letter inside",
        ("<Answer>{X}</Answer>",),
    ),
    Known(
        "sat",
        "lmms-eval's filter takes the first word before reasoning is cut off; here reasoning goes first, always",
        ("<think>It could be {W}.</think>{X}", "It could be {W}.</think>{X}"),
    ),
    Known(
        "sat",
        "lmms-eval takes the first word where the question's text lists no options; here brackets, an option's text "
        "and a colon count",
        ("{t}", "{T}", "The correct answer is ({X}).", "Answer: {X}", "**Answer: {X}**", "A chair is nearer: {X}"),
    ),
    Known(
        "sat",
        SPACE,
        ("{X}\nThe lamp is in front of it.",),
    ),
    Known(
        "gqa",
        "lmms-eval leaves out every mark; here the final dot alone, for the authors compare whole texts",
        ("{t}!", '"{t}"', "**{t}**"),
        fits="lmms_eval",
    ),
    Known(
        "detection_3d",
        LISTS,
        ("first only, in braces", "in an object", "key bbox", "seven numbers", "after words", "cut short"),
        fits=None,
    ),
    Known(
        "detection_3d",
        "of boxes that are equally sure lmms-eval takes the last first; here their order is kept",
        ("far, then right", "right, then far"),
        fits=None,
    ),
    Known(
        "detection_3d",
        "lmms-eval turns boxes about the vertical axis alone, by the ninth number in radians; here by all three "
        "angles, in degrees / 180, as VST stores them",
        ("angle 8 of 45 degrees", "angle 9 of 45 degrees"),
        fits=None,
    ),
)
