"""Replies for scorer_agreement.py: every form in which a question may be answered, with the truth and with another.

A form is a template, which is also its name in the record. In it X is the letter that is said, x the same letter small,
W another letter, t what is said in words and T the same with a capital; v is a number as the truth has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from scorer_questions import LETTERS, Question


class Reply(NamedTuple):
    """One reply, and which form it has."""

    form: str
    text: str
    right: bool  # whether it was filled in with the truth

    @property
    def says_truth(self) -> bool:
        """Whether the truth is what it says; a form that is not filled in says nothing."""
        return self.right and is_filled(self.form)


LETTER_FORMS = (
    "{X}", "{x}", "{X}.", "({X})", "({x})", "{X})", "[{X}]", "{X}: {t}", "{X}. {t}", "({X}) {t}", "{X} {t}", "{t}",
    "{T}", "The answer is {X}", "The answer is {X}.", "The correct answer is ({X}).", "the answer is {x}",
    "My answer is {X}", "Answer: {X}", "answer: {x}", "**{X}**", "**Answer: {X}**", "**{X}. {t}**", "\\boxed{{{X}}}",
    "``{X}``", "`{X}`", "``{x}``", "<answer>{X}</answer>", "<Answer>{X}</Answer>", "Option {X}", "Option {X} is right.",
    "{X}, because the camera turned.", "Because it is nearer, I choose {X}", "It stands there, so it is {X}.",
    "The lamp is in front of it.\n{X}", "{X}\nThe lamp is in front of it.", "It is not {W}, so the answer is {X}.",
    "{W} is too far away. The answer is {X}.", "{W} or {X}", "A chair is nearer: {X}", '{{"answer": "{X}"}}', " {X}\n",
    "<think>It could be {W}.</think>{X}", "<think>\n({W}) is near.\n</think>\n\nThe answer is {X}.",
    "It could be {W}.</think>{X}", "<think>It must be {X}", "", "   ", "I cannot tell.", "A chair stands there.",
    "None of them.", "Z", "42", "{{", "…",
)  # fmt: skip
NUMBER_FORMS = (
    "{v}", "{v}.", "{n:.2f}", "{n:.0f}", "{word}", "{Word}.", "{v} meters", "{v}m", "{v} square feet", "about {v}",
    "There are {v} of them.", "There are {word} of them.", "The answer is {v}.", "**{v}**", "\\boxed{{{v}}}",
    "<answer>{v}</answer>", "{low:.2f}", "{high:.2f}", "-{v}", "{v}-{high:.0f}", "{v} or {high:.0f}", "~{v}", "{v}?",
    "one chair, so {v}", "In room 2 there are {word}.", "<think>It could be 7.</think>{v}", "<think>{v}", "{v}%",
    "at least {v}", "{thousands}", "{point}", "{exponent}", "1/2", "", "many", "a few", "no chairs", "none", "Someone",
)  # fmt: skip
WORD_FORMS = (
    "{t}", "{T}", "{t}.", "{t}!", "{T}.", '"{t}"', "**{t}**", "a {t}", "the {t}", "The answer is {t}.", "Answer: {t}",
    "{t}, I think", " {t}\n", "{t} {t}", "<think>It could be {w}.</think>{t}", "<think>{t}", "", "   ", "?",
)  # fmt: skip
TEMPLATE_FORMS = (
    *WORD_FORMS, "{{'Reasoning': 'It stands there.', 'Answer': '{t}'}}", "{{'Reasoning': 'so', 'Answer': '{T}.'}}",
    '```json\n{{"Reasoning": "so", "Answer": "{t}"}}\n```', "{{'Answer': {t}}}", "Answer = '{t}'", "answer: {t}",
    "{{'Reasoning': 'The answer: {w}', 'Answer': '{t}'}}", "{{'Answer': '{same}'}}", "{same}", "0{t}",
    "<think>'Answer': '{w}'</think>{{'Answer': '{t}'}}",
)  # fmt: skip

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
PLAIN = ("{X}", "{v}", "{t}", "list", "far")
"""The forms of which both packages must make the same figures."""


def replies(question: Question, *, name: str) -> Iterator[Reply]:
    """Every form, with the truth and with something else."""
    if name == "detection_3d":
        yield from box_replies(question)
        return
    for right in (True, False):
        forms, fields = filled(question, name=name, right=right)
        for form in forms:
            if right or is_filled(form):
                yield Reply(form, form.format(**fields), right)


def is_filled(form: str) -> bool:
    """Whether something of the question stands in such replies."""
    return "{" in form.replace("{{", "")


def filled(question: Question, *, name: str, right: bool) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """The forms of a question's kind, and what goes into them."""
    if question.options:
        at = LETTERS.index(question.truth)
        count = len(question.options)
        said, other = (at, (at + 1) % count) if right else ((at + 1) % count, at)
        text = question.options[said]
        letters = {"X": LETTERS[said], "x": LETTERS[said].lower(), "W": LETTERS[other]}
        return LETTER_FORMS, {**letters, "t": text, "T": text.capitalize()}
    if name == "vsi_bench":
        return NUMBER_FORMS, numbers(question.truth if right else f"{3 * float(question.truth):g}")
    others = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
    other = others.get(question.truth.lower(), "4" if question.truth.isdigit() else "bicycle")
    said, wrong = (question.truth, other) if right else (other, question.truth)
    same = {"yes": "1", "no": "0", "true": "Yes", "false": "No"}.get(said.lower(), said.upper())
    words = {"t": said.lower(), "T": said.capitalize(), "w": wrong.lower(), "same": same}
    return TEMPLATE_FORMS if name == "spatial457" else WORD_FORMS, words


def numbers(value: str) -> dict[str, Any]:
    """A number in the ways that a form may say it."""
    number = float(value)
    word = in_words(round(number))
    return {
        "v": value, "n": number, "low": 0.83 * number, "high": 1.3 * number, "word": word, "Word": word.capitalize(),
        "thousands": f"{1000 * number:,.0f}", "point": f"{number % 1:.2f}"[1:], "exponent": f"{number:.1e}",
    }  # fmt: skip


def in_words(number: int) -> str:
    """0 to 999 in English."""
    small, tens = ONES.split(), TENS.split()
    if number < 20:
        return small[number]
    if number < 100:
        return tens[number // 10 - 2] + (f"-{small[number % 10]}" if number % 10 else "")
    return f"{small[number // 100]} hundred" + (f" and {in_words(number % 100)}" if number % 100 else "")


def box_replies(question: Question) -> Iterator[Reply]:
    """Boxes right, near, far, turned, mislabelled, and in other forms than a list."""
    boxes = json.loads(question.truth)
    far = [row | {"bbox_3d": [row["bbox_3d"][0] + 9, *row["bbox_3d"][1:]]} for row in boxes]
    near = [row | {"bbox_3d": [row["bbox_3d"][0] + 0.05, *row["bbox_3d"][1:]]} for row in boxes]
    turned = [row | {"bbox_3d": [*row["bbox_3d"][:8], 0.25]} for row in boxes]
    about_y = [row | {"bbox_3d": [*row["bbox_3d"][:7], 0.25, 0]} for row in boxes]
    shapes = {"list": boxes, "near": near, "far": far, "far, then right": far + boxes, "right, then far": boxes + far}
    shapes |= {"first only": boxes[:1], "twice": boxes + boxes, "angle 9 of 45 degrees": turned, "no boxes": []}
    shapes |= {"angle 8 of 45 degrees": about_y, "first only, in braces": boxes[0], "in an object": {"boxes": boxes}}
    shapes |= {"other label": [row | {"label": "cloud"} for row in boxes]}
    shapes |= {"upper case label": [row | {"label": row["label"].upper()} for row in boxes]}
    shapes |= {"key bbox": [{"bbox": row["bbox_3d"], "label": row["label"]} for row in boxes]}
    shapes |= {"seven numbers": [row | {"bbox_3d": row["bbox_3d"][:7]} for row in boxes]}
    shapes |= {"no label": [{"bbox_3d": row["bbox_3d"]} for row in boxes]}
    for form, content in shapes.items():
        yield Reply(form, json.dumps(content), form == "list")
    text = json.dumps(boxes)
    yield Reply("fenced", f"```json\n{text}\n```", True)
    yield Reply("after words", f"Here they are: {text}", True)
    yield Reply("cut short", text[:-12], True)
    yield Reply("after reasoning", f"<think>[{{}}] maybe</think>{text}", True)
    yield from (Reply(text, text, False) for text in ("", "none", "[", "{}"))
