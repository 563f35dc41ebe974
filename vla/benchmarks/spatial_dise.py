"""Spatial-DISE: four quadrants of spatial reasoning, intrinsic or extrinsic, static or dynamic."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, Benchmark, Scored, mean
from vst_vla.vla.benchmarks.files import find_files, read_rows
from vst_vla.vla.benchmarks.item import Item
from vst_vla.vla.benchmarks.letters import stated_letter


@dataclass(frozen=True, kw_only=True)
class SpatialDISE(Benchmark):
    """Spatial-DISE, files as in TACPS-liv/Spatial-DISE: FOLDER/DISE-bench/*.csv and pictures in FOLDER/image/*.tar."""

    name: ClassVar[str] = "spatial_dise"
    about: ClassVar[str] = "accuracy over all items; merged pictures"

    def items(self, folder: Path) -> Iterator[Item]:
        """One merged picture an item."""
        columns = ("question", "image", "answer", "category", "dise_category")
        where = _members(folder)
        for number, (path, row) in enumerate(read_rows(folder, "DISE-bench/*.csv", "*.csv", columns=columns)):
            member = row["image"].strip().removeprefix("images/").lstrip("/\\")
            if member not in where:
                raise ValueError(f"'{path}' names the picture '{member}', which is in no file of '{folder / 'image'}'")
            yield Item(
                id=f"benchmark_{number}",
                category=row["category"].strip(),
                prompt=f"{row['question'].strip()}\n{LETTER_PROMPT}",
                truth=row["answer"].strip().upper(),
                pictures=(_extract(where[member], member),),
                about={"quadrant": row["dise_category"].strip()},
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter, A to D."""
        return stated_letter(answer, letters="ABCD")

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over all items, then by quadrant."""
        quadrants = dict.fromkeys(entry.item.about["quadrant"] for entry in scored)
        rows = {name: mean(e for e in scored if e.item.about["quadrant"] == name) for name in quadrants}
        return {"accuracy": mean(scored), **rows}


def _members(folder: Path) -> dict[str, Path]:
    """Which archive holds each picture."""
    found: dict[str, Path] = {}
    for path in find_files(folder, "image/*.tar"):
        with tarfile.open(path) as archive:
            found |= {member.name: path for member in archive.getmembers() if member.isfile()}
    return found


def _extract(path: Path, member: str) -> bytes:
    with tarfile.open(path) as archive:
        file = archive.extractfile(member)
        assert file is not None
        return file.read()
