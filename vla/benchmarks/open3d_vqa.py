"""Open3D-VQA: distances, sizes and directions seen from the air, scored by rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vst_vla.vla.benchmarks.base import Benchmark, Scored, mean
from vst_vla.vla.benchmarks.files import find_files, read_json
from vst_vla.vla.benchmarks.item import Item
from vst_vla.vla.benchmarks.letters import stated_letter
from vst_vla.vla.benchmarks.statements import clock_hour, length_in_metres, near_hour, near_length, yes_or_no
from vst_vla.vla.contracts import near_miss
from vst_vla.vla.tasks.words import normalise

_ASK = (
    "Answer from the picture alone and at once. Give heights, widths, volumes and distances as an exact number with "
    "its unit. Give directions as hours of a clock: 12 o'clock is ahead of you, 9 on your left, 3 on your right."
)
_COLUMNS = ("id", "image_info", "qa_info", "conversation", "query_question")
_LETTER = re.compile(r"\s*\(?[A-D]\s*[.:)]")
_PAIR = re.compile(r"\bthe ([^?,]+?),? (?:or|and) the ([^?,]+?)\s*[,?]", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Open3DVQA(Benchmark):
    """Open3D-VQA, second version (Zhang et al., arXiv 2503.11094): FOLDER/test_qa.json and the pictures beside it.

    test_qa.json holds {data set: {scene: [question, …]}}; a picture is FOLDER/<data set>/<scene>/<image_path>. Layout
    as https://github.com/WeichenZh/Open3DVQA reads it.

    Rule-scored: officially GPT-4o says 0 or 1, which these figures do not compare with. By what the true answer holds:
    the same letter; a direction within an hour; a number within 25 % after units are converted (the bands of
    SpatialRGPT-Bench); the same of yes and no; the same of the two things that the question names; else the same words.
    The instruction is the official system prompt in words of ours.
    """

    name: ClassVar[str] = "open3d_vqa"
    about: ClassVar[str] = "RULE-SCORED, not comparable with judged numbers; numbers within 25 %, directions within 1 h"

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item."""
        for path in find_files(folder, "test_qa.json"):
            for data_set, scenes in _dictionary(read_json(path), path).items():
                for scene, rows in _dictionary(scenes, path).items():
                    for row in rows:
                        yield _item(_checked(row, path), folder / data_set / scene)

    def read(self, answer: str, *, item: Item) -> str | None:
        """What the rule of this item's truth compares."""
        return _reading(answer, item)

    def compare(self, answer: str, *, item: Item) -> float:
        """1 for the same, numbers and hours within their bands."""
        truth, rule = _reading(item.truth, item), item.about["rule"]
        assert truth is not None  # the rule was chosen by what the truth holds
        if rule in ("hour", "number"):
            return (near_hour if rule == "hour" else near_length)(float(answer), true=float(truth))
        return float(answer == truth)

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Mean over all items, and of the two halves."""
        kinds = ("qualitative", "quantitative")
        halves = {kind: mean(e for e in scored if e.item.about["type"] == kind) for kind in kinds}
        return {"rule_scored_accuracy": mean(scored), **halves}


def _dictionary(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"'{path}' is not {{data set: {{scene: [question, …]}}}}: download the second version")
    return value


def _checked(row: dict[str, Any], path: Path) -> dict[str, Any]:
    missing = [name for name in _COLUMNS if name not in row]
    inner = [name for name in ("type", "question_name") if name not in row.get("qa_info", {})]
    if missing:
        raise ValueError(f"'{path}' has no column '{missing[0]}': {near_miss(missing[0], row)}")
    if inner:
        raise ValueError(f"'{path}' has no column 'qa_info.{inner[0]}': {near_miss(inner[0], row['qa_info'])}")
    return row


def _item(row: dict[str, Any], folder: Path) -> Item:
    truth, question = row["conversation"][1]["value"].strip(), row["query_question"].replace("<image>", "").strip()
    things = _things(question)
    return Item(
        id=str(row["id"]),
        category=row["qa_info"]["question_name"],
        prompt=f"{_ASK}\n{question}",
        truth=truth,
        pictures=(folder / row["image_info"]["image_path"],),
        group=str(folder / row["image_info"]["image_path"]),
        about={"type": row["qa_info"]["type"], "rule": _rule(truth, things), "things": things},
    )


def _things(question: str) -> list[str]:
    """The two things between which a question asks to choose."""
    found = _PAIR.search(question)
    return [normalise(name) for name in found.groups()] if found else []


def _rule(truth: str, things: Sequence[str]) -> str:
    if _LETTER.match(truth):
        return "letter"
    if clock_hour(truth) is not None:
        return "hour"
    if yes_or_no(truth):
        return "yes or no"
    if _named_first(truth, things):
        return "thing"
    return "number" if length_in_metres(truth) else "words"


def _reading(text: str, item: Item) -> str | None:
    match item.about["rule"]:
        case "letter":
            return stated_letter(text, letters="ABCD")
        case "hour":
            hour = clock_hour(text)
            return None if hour is None else str(hour)
        case "yes or no":
            return yes_or_no(text)
        case "thing":
            return _named_first(text, item.about["things"])
        case "number":
            return length_in_metres(text)
    return normalise(text) or None


def _named_first(text: str, things: Sequence[str]) -> str | None:
    said = normalise(text)
    named = [(said.find(name), -len(name), name) for name in things if name in said]
    return min(named)[2] if named else None
