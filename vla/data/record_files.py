"""Parquet files of VST's records: which files a path stands for, their row groups, and one pass over their rows."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [
        ("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))),
        ("id", pa.string()),
        ("data_source", pa.string()),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("type", pa.string()),
        ("meta_info", pa.string()),
    ]
)
COLUMNS = tuple(SCHEMA.names)
ROWS_AT_ONCE = 32
DAMAGED = "the row group that it is in is damaged"

Record = dict[str, Any]


class Skipped(NamedTuple):
    """A row that cannot be used."""

    file: Path
    row: int  # in that file
    reason: str


class Groups(NamedTuple):
    """Where the rows of several files lie, counted over all files."""

    starts: list[int]  # first row of every row group, the total at the end
    places: list[tuple[int, int]]  # (file, number in that file) of every group
    firsts: list[int]  # first row of every file


def list_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """The parquet files meant; a folder stands for its `*.parquet`, sorted, subfolders included.

    Raises:
        ValueError: none given, none there, or a folder whose making was cut short.
    """
    files: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        _require_complete(path / "manifest.json")
        found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        found = [file for file in found if not file.name.startswith(".")]
        if not found or not found[0].is_file():
            raise ValueError(f"no parquet file at '{path}': give a file, or a folder made by `vst-vla qa`")
        files += found
    if not files:
        raise ValueError("no parquet file given: name at least one file or folder")
    return files


def index_groups(files: Sequence[Path]) -> Groups:
    """The row groups of all files.

    Raises:
        ValueError: naming a file that is not parquet or was cut short, or a column that is missing or of another type.
    """
    groups = Groups([0], [], [])
    for number, path in enumerate(files):
        groups.firsts.append(groups.starts[-1])
        with open_file(path) as file:
            for group in range(file.num_row_groups):
                groups.places.append((number, group))
                groups.starts.append(groups.starts[-1] + file.metadata.row_group(group).num_rows)
    return groups


def open_file(path: Path) -> pq.ParquetFile:
    """The file, its columns checked. Raises ValueError as `index_groups`."""
    try:
        metadata = pq.read_metadata(path)
        file = pq.ParquetFile(path, metadata=metadata, read_dictionary=_picture_columns(metadata))
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"'{path}' is not a parquet file, or was cut short: make it again") from error
    schema = file.schema_arrow
    if missing := [name for name in COLUMNS if name not in schema.names]:
        file.close()
        raise ValueError(f"'{path}' lacks column {', '.join(missing)}: expected {', '.join(COLUMNS)}")
    for field in SCHEMA:
        if not _is_like(schema.field(field.name).type, field.type):
            file.close()
            raise ValueError(f"column {field.name} of '{path}' is {schema.field(field.name).type}, not {field.type}")
    return file


def read_group(path: Path, group: int) -> pa.Table:
    """One row group. Raises ValueError when it is damaged."""
    try:
        with open_file(path) as file:
            return file.read_row_group(group, columns=list(COLUMNS))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(DAMAGED) from error


def scan_rows(
    path: Path, *, only: Container[int] | None = None, columns: Sequence[str] = COLUMNS
) -> Iterator[tuple[int, Record | None]]:
    """One pass over a file's rows as stored, few at a time in memory: (number, row), None for a damaged one.

    Args:
        path: the parquet file.
        only: numbers of the rows wanted; all when not given.
        columns: what is read of each.

    Raises:
        ValueError: as `index_groups`.
    """
    with open_file(path) as file:
        stop = 0
        for group in range(file.num_row_groups):
            start, stop = stop, stop + file.metadata.row_group(group).num_rows
            wanted = [n for n in range(start, stop) if only is None or n in only]
            if wanted:
                batches = file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=list(columns))
                yield from _scan_group(batches, start, wanted)


def _scan_group(
    batches: Iterable[pa.RecordBatch], start: int, wanted: list[int]
) -> Iterator[tuple[int, Record | None]]:
    left = deque(wanted)
    try:
        for batch in batches:
            while left and left[0] < start + batch.num_rows:
                yield left[0], batch.slice(left.popleft() - start, 1).to_pylist()[0]
            start += batch.num_rows
    except (pa.ArrowException, OSError):
        yield from ((number, None) for number in left)


def _picture_columns(metadata: pq.FileMetaData) -> list[str]:
    """Read as dictionaries, so that a picture that many rows of a group share is in memory once."""
    leaves = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    return [leaf for leaf in leaves if leaf.startswith("images.") and leaf.endswith(".bytes")]


def _is_like(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column can be read as the wanted type: strings, bytes and lists of any length, structs with more."""
    if pa.types.is_dictionary(found):
        return _is_like(found.value_type, wanted)
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and _is_like(found.value_type, wanted.value_type)
    if pa.types.is_struct(wanted):
        if not pa.types.is_struct(found):
            return False
        theirs = {field.name: field.type for field in found}
        return all(field.name in theirs and _is_like(theirs[field.name], field.type) for field in wanted)
    if pa.types.is_null(found):
        return True
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    return pa.types.is_binary(found) or pa.types.is_large_binary(found)


def _require_complete(manifest: Path) -> None:
    """Raises ValueError for a folder whose making was cut short; folders without a manifest pass."""
    if manifest.is_file() and not json.loads(manifest.read_text()).get("complete", True):
        raise ValueError(f"'{manifest.parent}' is not finished: run the `vst-vla qa` that made it again, it goes on")
