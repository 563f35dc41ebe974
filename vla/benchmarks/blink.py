"""BLINK: fourteen tasks of visual perception."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, LETTERS, Benchmark
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, stored
from vst_vla.vla.benchmarks.letters import stated_letter

_IMAGES = ("image_1", "image_2", "image_3", "image_4")


@dataclass(frozen=True, kw_only=True)
class Blink(Benchmark):
    """BLINK (Fu et al., arXiv 2404.12390), files as in BLINK-Benchmark/BLINK: FOLDER/<task>/val*.parquet."""

    name: ClassVar[str] = "blink"
    about: ClassVar[str] = "accuracy over all items of the validation split"

    def items(self, folder: Path) -> Iterator[Item]:
        """One to four pictures an item; the file's own prompt, options included."""
        for _, row in read_rows(folder, "**/val*.parquet", columns=("idx", "answer", "prompt", *_IMAGES)):
            name = row["idx"]
            yield Item(
                id=name,
                category=name.removeprefix("val_").rpartition("_")[0],
                prompt=f"{row['prompt']}\n{LETTER_PROMPT}",
                truth=row["answer"].strip("() "),
                pictures=tuple(stored(row[key], name=name) for key in _IMAGES if row[key] is not None),
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter."""
        return stated_letter(answer, letters=LETTERS)
