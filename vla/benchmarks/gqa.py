"""GQA: compositional questions about photographs; a guard against unlearning, not a measure of space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import WORD_PROMPT, Benchmark
from vst_vla.vla.benchmarks.files import find_files, read_json
from vst_vla.vla.benchmarks.item import Item


@dataclass(frozen=True, kw_only=True)
class GQA(Benchmark):
    """GQA (Hudson and Manning, arXiv 1902.09506), the official files.

    FOLDER/testdev_balanced_questions.json and FOLDER/images. Right when equal without case and final dot.
    """

    name: ClassVar[str] = "gqa"
    about: ClassVar[str] = "exact match over the balanced test-dev split"

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item."""
        for path in find_files(folder, "testdev_balanced_questions.json"):
            for name, row in read_json(path).items():
                missing = [key for key in ("imageId", "question", "answer") if key not in row]
                if missing:
                    raise ValueError(f"'{path}' has no column '{missing[0]}' in question {name}")
                yield Item(
                    id=name,
                    category=(row.get("types") or {}).get("semantic", "all"),
                    prompt=f"{row['question']}\n{WORD_PROMPT}",
                    truth=row["answer"].strip().lower(),
                    pictures=(folder / "images" / f"{row['imageId']}.jpg",),
                    group=row["imageId"],
                )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The text in lower case without a final dot."""
        return answer.strip().rstrip(".").lower() or None
