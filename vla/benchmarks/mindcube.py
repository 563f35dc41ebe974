"""MindCube: what a place looks like from a side that no picture shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, Benchmark, Scored, mean
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item
from vst_vla.vla.benchmarks.letters import last_dotted_letter

KINDS = {"rotation": "rotation", "among": "among", "around": "around", "aroundnew": "around"}


@dataclass(frozen=True, kw_only=True)
class MindCube(Benchmark):
    """MindCube (Yin et al., arXiv 2506.21458), files as in MLL-Lab/MindCube.

    FOLDER/<file>*.jsonl, whose `images` are paths below FOLDER. The data were repaired in March 2026: older numbers do
    not compare.

    Args:
        file: how the question file's name starts, such as MindCube_tinybench.
    """

    name: ClassVar[str] = "mindcube"
    about: ClassVar[str] = "accuracy over all items; the official reader takes the last 'X.'; raw questions"

    file: str = "MindCube_tinybench"

    def items(self, folder: Path) -> Iterator[Item]:
        """Several pictures an item; its kind stands in its id."""
        columns = ("id", "images", "question", "gt_answer")
        for _, row in read_rows(folder, f"{self.file}*.jsonl", f"**/{self.file}*.jsonl", columns=columns):
            kind = row["id"].partition("_")[0]
            yield Item(
                id=row["id"],
                category=KINDS.get(kind, kind),
                prompt=f"{row['question'].strip()}\n{LETTER_PROMPT}",
                truth=row["gt_answer"],
                pictures=tuple(folder / path for path in row["images"]),
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter, A to E."""
        return last_dotted_letter(answer)

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over all items, then by kind."""
        kinds = {kind: mean(e for e in scored if e.item.category == kind) for kind in dict.fromkeys(KINDS.values())}
        return {"accuracy": mean(scored), **kinds}
