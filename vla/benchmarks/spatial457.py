"""Spatial457: seven levels from one object to collisions, in rendered scenes of vehicles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import Benchmark, Scored, by_category, mean
from vst_vla.vla.benchmarks.files import find_files, read_json
from vst_vla.vla.benchmarks.item import Item

LEVELS = ("L1_single", "L2_objects", "L3_2d_spatial", "L4_occ", "L4_pose", "L5_6d_spatial", "L5_collision")
_ASK = (
    "Find the objects that the question is about. Each has a shape (such as airliner), a size (small or large), a "
    "color (gray, blue, purple, brown, green, cyan, red or yellow) and a direction (left, right, front or back). "
    "Reason briefly, then answer with a phrase, with a whole number from 0 to 10 when asked how many, or with Yes or "
    "No when asked whether there is something. Write your response into this json template: "
    "{'Reasoning': '<your reasons>', 'Answer': '<Your answer>'}"
)
_ANSWERS = (
    r"['\"]?Answer['\"]?\s*[:=]\s*['\"]([^'\"]+)['\"]",
    r"Answer['\"]?\s*:\s*['\"]?(\w+)",
)
_SAME = ({"yes", "true", "1"}, {"no", "false", "0"})


@dataclass(frozen=True, kw_only=True)
class Spatial457(Benchmark):
    """Spatial457 (Wang et al., arXiv 2502.08636), files as in RyanWW/Spatial457.

    FOLDER/questions/<level>.json and FOLDER/images. A reply fills a template with 'Reasoning' and 'Answer'; a reply
    without it is compared whole. Yes, true and 1 are the same, and no, false and 0. The instruction keeps the official
    template in words of ours.
    """

    name: ClassVar[str] = "spatial457"
    about: ClassVar[str] = (
        "exact match of 'Answer', yes = true = 1; the instruction is ours around the official template"
    )

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item."""
        for path in find_files(folder, "questions/L*.json"):
            content = read_json(path)
            if not isinstance(content, dict) or not isinstance(content.get("questions"), list):
                raise ValueError(f"'{path}' has no list 'questions': download it again")
            for number, row in enumerate(content["questions"]):
                missing = [key for key in ("image_filename", "question", "answer") if key not in row]
                if missing:
                    raise ValueError(f"'{path}' has no column '{missing[0]}' in question {number}")
                yield Item(
                    id=f"{path.stem}-{number}",
                    category=path.stem,
                    prompt=f"{row['question']}\n{_ASK}",
                    truth=str(row["answer"]).strip().lower(),
                    pictures=(folder / "images" / row["image_filename"],),
                    group=row["image_filename"],
                )

    def read(self, answer: str, *, item: Item) -> str | None:
        """What the template's 'Answer' holds, or the whole reply, in lower case."""
        found = next(filter(None, (re.search(p, answer, re.IGNORECASE) for p in _ANSWERS)), None)
        return (found.group(1) if found else answer).strip().lower() or None

    def compare(self, answer: str, *, item: Item) -> float:
        """Equality, with yes and no in all their forms and whole numbers with leading zeros."""
        return float(_bare(answer) == _bare(item.truth) or any({answer, item.truth} <= same for same in _SAME))

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over all items, then by level."""
        rows = by_category(scored)
        return {"accuracy": mean(scored), **{level: mean(rows[level]) for level in LEVELS if level in rows}}


def _bare(text: str) -> str:
    return (text.lstrip("0") or "0") if text.isdecimal() else text
