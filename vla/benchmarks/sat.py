"""SAT: motion of the viewer and of things, between two moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, LETTERS, Benchmark, Scored, all_right, lettered, mean
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, stored
from vst_vla.vla.benchmarks.letters import option_letter


@dataclass(frozen=True, kw_only=True)
class SAT(Benchmark):
    """SAT (Ray et al., arXiv 2412.07755), files as in array/SAT: FOLDER/**/*test*.parquet.

    Every question is asked with its options in the given and in the opposite order, as its authors do; `accuracy`
    counts both, `both_orders` asks for both to be right.
    """

    name: ClassVar[str] = "sat"
    about: ClassVar[str] = "options in both orders; accuracy over both"

    def items(self, folder: Path) -> Iterator[Item]:
        """One or two pictures an item, two items a question."""
        columns = ("image_bytes", "question", "answers", "correct_answer")
        rows = read_rows(folder, "**/*test*.parquet", "**/*.parquet", columns=columns)
        for number, (_, row) in enumerate(rows):
            pictures = tuple(stored(image, name=str(number)) for image in row["image_bytes"])
            for order, options in (("given", row["answers"]), ("opposite", row["answers"][::-1])):
                yield Item(
                    id=f"{number}-{order}",
                    category=row.get("question_type") or "all",
                    prompt=f"{row['question'].strip()}\n{lettered(options)}\n{LETTER_PROMPT}",
                    truth=LETTERS[_place(row, options, number)],
                    pictures=pictures,
                    group=str(number),
                    about={"options": list(options)},
                )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter."""
        return option_letter(answer, options=item.about["options"])

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over both orders, and with both right."""
        both = all_right(scored, key={entry.item.id: entry.group for entry in scored})
        return {"accuracy": mean(scored), "both_orders": both}


def _place(row: dict[str, object], options: Sequence[object], number: int) -> int:
    if row["correct_answer"] not in options:
        raise ValueError(f"item '{number}' has the answer '{row['correct_answer']}', which is none of its options")
    return list(options).index(row["correct_answer"])
