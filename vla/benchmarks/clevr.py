"""CLEVR: rendered solids; a guard against unlearning, for the field has long solved it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import WORD_PROMPT, Benchmark
from vst_vla.vla.benchmarks.files import find_files, read_json
from vst_vla.vla.benchmarks.item import Item


@dataclass(frozen=True, kw_only=True)
class CLEVR(Benchmark):
    """CLEVR (Johnson et al., arXiv 1612.06890), the official archive.

    FOLDER/questions/CLEVR_val_questions.json and FOLDER/images/val. Right when equal without case and final dot.
    """

    name: ClassVar[str] = "clevr"
    about: ClassVar[str] = "exact match over the validation split, which has answers"

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item; its category is the last step of its program."""
        for path in find_files(folder, "questions/CLEVR_val_questions.json"):
            for number, row in enumerate(read_json(path)["questions"]):
                missing = [key for key in ("image_filename", "question", "answer") if key not in row]
                if missing:
                    raise ValueError(f"'{path}' has no column '{missing[0]}' in question {number}")
                program = row.get("program") or [{"function": "all"}]
                yield Item(
                    id=str(row.get("question_index", number)),
                    category=program[-1]["function"],
                    prompt=f"{row['question']}\n{WORD_PROMPT}",
                    truth=str(row["answer"]).lower(),
                    pictures=(folder / "images" / "val" / row["image_filename"],),
                    group=row["image_filename"],
                )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The text in lower case without a final dot."""
        return answer.strip().rstrip(".").lower() or None
