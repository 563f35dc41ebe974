"""Datasets of spatial questions in other trainers' formats.

An export is made one source file after the other in `OUT.partial`, which becomes OUT when it is whole: a run that was
cut short goes on with the first file that is not finished. Few rows at a time are in memory.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.data.export_easyr1 import EASYR1
from vst_vla.vla.data.export_llava import Llava
from vst_vla.vla.data.export_vst_rl import VST_RL
from vst_vla.vla.data.record_files import Skipped, index_groups, list_files
from vst_vla.vla.data.stored import StoredRow, stored_rows
from vst_vla.vla.files import write_json

MANIFEST, SETTINGS = "manifest.json", "settings.json"
PARTS = "parts"
"""Subfolder of an unfinished export: what has been done."""


class Format(Protocol):
    """A format to export to."""

    def write_part(self, folder: Path, *, number: int, rows: Iterable[StoredRow]) -> Mapping[str, int]:
        """Writes one source file's rows into `folder`, whole files only.

        Returns:
            How many rows were written, under "", and left out, under the reason.
        """
        ...

    def finish(self, folder: Path, *, num_parts: int) -> None:
        """Joins the parts, when the format wants one file."""
        ...


FORMATS: dict[str, Format] = {"llava": Llava(), "easyr1": EASYR1, "vst_rl": VST_RL}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export holds."""

    folder: Path
    num_rows: int
    skipped: int  # rows that cannot be used; the log names each
    left_out: Mapping[str, int]  # good rows that the format has no use for, by reason


def export_records(source: str | Path | Sequence[str | Path], *, out: str | Path, form: str) -> Exported:
    """Writes records in VST's format anew, for another trainer.

    Args:
        source: parquet files and folders, as `SpatialRecords` takes them.
        out: the folder to make; one that holds this very export already is left as it is.
        form: "llava" (`export_llava.py`), "easyr1" (`export_easyr1.py`) or "vst_rl" (`export_vst_rl.py`).

    Raises:
        ValueError: an unknown form, no source, a file that is not parquet, or a folder that holds something else.
    """
    if form not in FORMATS:
        raise unknown_name("export format", form, FORMATS)
    files, folder = list_files(source), Path(out)
    index_groups(files)  # a bad file is refused before hours are spent on those before it
    settings = {"form": form, "files": [[path.name, path.stat().st_size] for path in files]}
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        _claim(partial, settings)
        for number, path in enumerate(tqdm(files, unit="file", desc=f"export {form}")):
            _part(FORMATS[form], partial, number=number, path=path)
        _finish(FORMATS[form], partial, settings)
        partial.rename(folder)
    return _finished(folder, settings)


def _claim(partial: Path, settings: Mapping[str, Any]) -> None:
    """Makes the unfinished folder ours. Raises ValueError when an export of something else was begun there."""
    said = partial / SETTINGS
    if said.is_file() and json.loads(said.read_text()) != settings:
        raise ValueError(f"'{partial}' holds the beginning of another export: remove it, or give another out=")
    write_json(said, settings)


def _part(form: Format, partial: Path, *, number: int, path: Path) -> None:
    """Exports one source file, unless that was done before."""
    done = partial / PARTS / f"{number:05d}.json"
    if done.is_file() or (partial / MANIFEST).is_file():
        return
    skipped: list[Skipped] = []
    counts = form.write_part(partial, number=number, rows=stored_rows(path, skipped=skipped))
    write_json(done, {"counts": counts, "skipped": len(skipped)})


def _finish(form: Format, partial: Path, settings: Mapping[str, Any]) -> None:
    if not (partial / MANIFEST).is_file():
        parts = [json.loads(path.read_text()) for path in sorted((partial / PARTS).glob("*.json"))]
        form.finish(partial, num_parts=len(parts))
        left_out: Counter[str] = Counter()
        for part in parts:
            left_out.update(part["counts"])
        counts = {"num_rows": left_out.pop("", 0), "skipped": sum(part["skipped"] for part in parts)}
        write_json(partial / MANIFEST, {**counts, "left_out": dict(sorted(left_out.items())), "settings": settings})
    shutil.rmtree(partial / PARTS, ignore_errors=True)
    (partial / SETTINGS).unlink(missing_ok=True)


def _finished(folder: Path, settings: Mapping[str, Any]) -> Exported:
    """The export in `folder`. Raises ValueError when it holds something else."""
    manifest = folder / MANIFEST
    said = json.loads(manifest.read_text()) if manifest.is_file() else {}
    if said.pop("settings", None) != settings:
        raise ValueError(f"'{folder}' is there already and holds something else: give another out=")
    return Exported(folder=folder, **said)
