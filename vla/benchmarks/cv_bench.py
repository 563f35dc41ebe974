"""CV-Bench: counting, relation, depth order and distance in single pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, LETTERS, Benchmark, Scored, mean
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, stored
from vst_vla.vla.benchmarks.letters import stated_letter
from vst_vla.vla.contracts import unknown_name

HEADLINES = ("official", "micro")


@dataclass(frozen=True, kw_only=True)
class CVBench(Benchmark):
    """CV-Bench (Tong et al., arXiv 2406.16860), files as in nyu-visionx/CV-Bench: FOLDER/test*.parquet.

    Args:
        headline: `official`, ((ADE20K + COCO) / 2 + Omni3D) / 2, or `micro`, the mean over all items, which is
            lmms-eval's. Both are reported; published tables seldom say which they hold.
    """

    name: ClassVar[str] = "cv_bench"
    about: ClassVar[str] = "official: mean of 2D (mean of its two sources) and 3D; micro: mean over all items"

    headline: str = "official"

    def __post_init__(self) -> None:
        if self.headline not in HEADLINES:
            raise unknown_name("CV-Bench headline", self.headline, HEADLINES)

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item; the file's own prompt, options included."""
        columns = ("idx", "type", "task", "image", "answer", "prompt", "source")
        for _, row in read_rows(folder, "test*.parquet", "**/test*.parquet", columns=columns):
            name = f"{row['type']}-{row['idx']}"
            yield Item(
                id=name,
                category=f"{row['type']} {row['task']}",
                prompt=f"{row['prompt']}\n{LETTER_PROMPT}",
                truth=row["answer"].strip("() "),
                pictures=(stored(row["image"], name=name),),
                about={"source": row["source"]},
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter."""
        return stated_letter(answer, letters=LETTERS)

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """The headline, the other way to sum up, and the three sources."""
        ade, coco, omni = (
            mean(entry for entry in scored if entry.item.about["source"].lower().startswith(source))
            for source in ("ade", "coco", "omni")
        )
        both = {"official": ((ade + coco) / 2 + omni) / 2, "micro": mean(scored)}
        return {self.headline: both.pop(self.headline), **both, "ade20k": ade, "coco": coco, "omni3d": omni}
