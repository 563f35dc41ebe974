"""Rows of a benchmark's published files: parquet, JSON, JSON lines, CSV and TSV, with their columns checked."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vst_vla.vla.contracts import near_miss

Row = dict[str, Any]


def read_rows(folder: Path, *patterns: str, columns: Sequence[str]) -> Iterator[tuple[Path, Row]]:
    """(file, row) of every row of the files that match the first of `patterns` to match any, sorted by name.

    Raises:
        ValueError: no such folder or file, a file that cannot be read, or one that lacks a column, by its name.
    """
    for path in find_files(folder, *patterns):
        for row in _READERS[path.suffix](path):
            missing = [name for name in columns if name not in row]
            if missing:
                raise ValueError(f"'{path}' has no column '{missing[0]}': {near_miss(missing[0], row)}")
            yield path, row


def find_files(folder: Path, *patterns: str) -> list[Path]:
    """Files below `folder` that match the first of `patterns` to match any. Raises ValueError when none does."""
    if not folder.is_dir():
        raise ValueError(f"no folder at '{folder}': give data=FOLDER, where the benchmark's files are")
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if found:
            return found
    raise ValueError(f"'{folder}' holds no {' and no '.join(patterns)}: download the benchmark's files there")


def read_json(path: Path) -> Any:
    """A file's JSON. Raises ValueError naming the file when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' cannot be read as JSON: download it again") from error


def _parquet(path: Path) -> Iterator[Row]:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"'{path}' is not a parquet file, or was cut short: download it again") from error
    with file:
        for batch in file.iter_batches(16):
            yield from batch.to_pylist()


def _json(path: Path) -> Iterator[Row]:
    """A list of rows, or rows one a line under the same ending, as some benchmarks have them."""
    with path.open(encoding="utf-8") as lines:
        is_list = lines.read(1) == "["
    yield from read_json(path) if is_list else _lines(path)


def _lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ValueError(f"'{path}' has no JSON in line {number}: download it again") from error


def _table(delimiter: str) -> Callable[[Path], Iterator[Row]]:
    def rows(path: Path) -> Iterator[Row]:
        csv.field_size_limit(sys.maxsize)  # pictures stand in cells as base64
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from (
                {str(k).strip(): v for k, v in row.items()} for row in csv.DictReader(lines, delimiter=delimiter)
            )

    return rows


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".parquet": _parquet,
    ".json": _json,
    ".jsonl": _lines,
    ".csv": _table(","),
    ".tsv": _table("\t"),
}
