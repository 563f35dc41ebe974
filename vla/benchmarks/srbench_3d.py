"""3DSRBench: height, place, orientation and relations of several objects, with flipped and rotated questions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import Benchmark, Scored, all_right, lettered, mean
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, stored
from vst_vla.vla.benchmarks.letters import stated_letter
from vst_vla.vla.contracts import unknown_name

VARIANTS = ("vanilla", "flip", "circular", "flip_circular")
GROUPS = ("height", "location", "orientation", "multi_object")
_QID = re.compile(r"(?P<base>.+?)(?P<flip>-flip)?(?P<turn>-\d+)?")


@dataclass(frozen=True, kw_only=True)
class SRBench3D(Benchmark):
    """3DSRBench (Ma et al., arXiv 2412.07825), files as in ccvl/3DSRBench: FOLDER/*.tsv with base64 pictures.

    A question's `qid` is "X", "X-1" (options in another order), "X-flip" (picture and question mirrored) or
    "X-flip-1". `vanilla` counts every row; in `flip` both sides, in `circular` all orders, in `flip_circular` all of
    them must be right. All four are reported.

    Args:
        variant: the headline.
    """

    name: ClassVar[str] = "3dsrbench"
    about: ClassVar[str] = "vanilla: every row; flip, circular: all variants of a question must be right"

    variant: str = "vanilla"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown_name("3DSRBench variant", self.variant, VARIANTS)

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item."""
        columns = ("qid", "question", "A", "B", "C", "D", "answer", "category", "image")
        for _, row in read_rows(folder, "*circular*.tsv", "*.tsv", "**/*.parquet", columns=columns):
            options = [row[letter] for letter in "ABCD" if row[letter] and str(row[letter]).lower() != "nan"]
            yield Item(
                id=row["qid"],
                category=row["category"],
                prompt=f"Question: {row['question']}\nOptions:\n{lettered(options)}\n"
                "Please select the correct answer from the options above.",
                truth=row["answer"],
                pictures=(stored(row["image"], name=row["qid"]),),
                group=_parts(row["qid"])[0],
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter, A to D."""
        return stated_letter(answer, letters="ABCD")

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """The headline, the other variants, and the four groups of categories by every row."""
        parts = {entry.item.id: _parts(entry.item.id) for entry in scored}
        every = {
            "vanilla": mean(scored),
            "flip": all_right(scored, key={name: base + turn for name, (base, _, turn) in parts.items()}),
            "circular": all_right(scored, key={name: base + flip for name, (base, flip, _) in parts.items()}),
            "flip_circular": all_right(scored, key={name: base for name, (base, _, _) in parts.items()}),
        }
        groups = {group: mean(e for e in scored if e.item.category.startswith(group)) for group in GROUPS}
        return {self.variant: every.pop(self.variant), **every, **groups}


def _parts(qid: str) -> tuple[str, str, str]:
    """The question's own name, "-flip" or nothing, and which order of options."""
    found = _QID.fullmatch(qid)
    assert found is not None
    return found["base"], found["flip"] or "", found["turn"] or ""
