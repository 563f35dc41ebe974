"""EmbSpatial-Bench: six relations of objects, seen by a robot indoors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, LETTERS, Benchmark, lettered
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, stored
from vst_vla.vla.benchmarks.letters import stated_letter


@dataclass(frozen=True, kw_only=True)
class EmbSpatial(Benchmark):
    """EmbSpatial-Bench (Du et al., arXiv 2406.05756), files as in FlagEval/EmbSpatial-Bench.

    FOLDER/*.json (rows, or one a line, pictures in base64) or FOLDER/**/*.parquet. There is no official prompt.
    """

    name: ClassVar[str] = "embspatial"
    about: ClassVar[str] = "accuracy over all items; the prompt is ours, there is no official one"

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item; `answer` counts options from 0."""
        columns = ("question_id", "question", "answer_options", "answer", "relation", "image")
        for _, row in read_rows(folder, "*.json", "*.jsonl", "**/*.parquet", columns=columns):
            name = str(row["question_id"])
            yield Item(
                id=name,
                category=row["relation"],
                prompt=f"{row['question']}\n{lettered(row['answer_options'])}\n{LETTER_PROMPT}",
                truth=LETTERS[int(row["answer"])],
                pictures=(stored(row["image"], name=name),),
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter."""
        return stated_letter(answer, letters=LETTERS)
