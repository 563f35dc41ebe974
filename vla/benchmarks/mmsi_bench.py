"""MMSI-Bench: spatial questions that need several pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, Benchmark
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, stored
from vst_vla.vla.benchmarks.letters import fenced_letter


@dataclass(frozen=True, kw_only=True)
class MMSIBench(Benchmark):
    """MMSI-Bench (Yang et al., arXiv 2505.23764), files as in RunsenXu/MMSI-Bench: FOLDER/*.parquet."""

    name: ClassVar[str] = "mmsi_bench"
    about: ClassVar[str] = "accuracy over all items; the letter out of backticks, braces, or alone"

    def items(self, folder: Path) -> Iterator[Item]:
        """Several pictures an item; the options stand in the question."""
        columns = ("id", "images", "question_type", "question", "answer")
        for _, row in read_rows(folder, "*.parquet", "**/*.parquet", columns=columns):
            name = str(row["id"])
            yield Item(
                id=name,
                category=row["question_type"],
                prompt=f"{row['question'].strip()}\n{LETTER_PROMPT} Enclose the option's letter within ``.",
                truth=row["answer"].strip().upper()[:1],
                pictures=tuple(stored(image, name=name) for image in row["images"]),
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter, A to D."""
        return fenced_letter(answer, letters="ABCD")
