"""Parquet shards of a question dataset: VST's columns, whole files only, the same rows giving the same bytes."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vst_vla.vla.files import replacing_file, write_json

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
"""VST's record format. `vla/data/records.py` reads it; the two files state the format each for itself, and a test
holds them equal."""

MANIFEST = "manifest.json"
TEACHER_KEY = b"vst_vla.teacher"
BIRD_VIEW = pa.field("bird_view", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
"""A column beside VST's: the bird's-eye view of a reasoning item, which no training reads; null for other items."""

Counts = dict[str, dict[str, int]]


def claim(folder: Path, *, settings: Mapping[str, Any]) -> None:
    """Makes the folder that of a dataset with these settings, unfinished until its manifest says otherwise.

    Raises:
        ValueError: it holds a dataset of other settings, or parquet files of something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    if manifest.is_file():
        theirs = json.loads(manifest.read_text())["settings"]
        for name, value in settings.items():
            if theirs.get(name) != value:
                raise ValueError(
                    f"'{folder}' holds questions made with {name}={theirs.get(name)}, not {value}: "
                    "give another folder, or the same settings to go on"
                )
    elif any(folder.glob("part-*.parquet")):
        raise ValueError(f"'{folder}' holds parquet files but no {MANIFEST}: give an empty folder")
    else:
        write_json(manifest, {"complete": False, "settings": dict(settings)})


def shard_path(folder: Path, *, number: int) -> Path:
    """Where shard `number` lies."""
    return folder / f"part-{number:05d}.parquet"


def shard_bytes(
    records: list[dict[str, Any]], *, bird_views: bool = False, teacher: Mapping[str, int] | None = None
) -> bytes:
    """The rows as a parquet file.

    Args:
        records: the rows.
        bird_views: with the column `BIRD_VIEW`.
        teacher: what its replies were worth; stands in the file's metadata.
    """
    schema = SCHEMA.append(BIRD_VIEW) if bird_views else SCHEMA
    if teacher:
        schema = schema.with_metadata({TEACHER_KEY: json.dumps(dict(teacher))})
    table = pa.Table.from_pylist(records, schema=schema)
    buffer = io.BytesIO()
    # Pictures that several questions share are stored once: the dictionary page is allowed to hold them all.
    pq.write_table(table, buffer, dictionary_pagesize_limit=64 << 20)
    return buffer.getvalue()


def write_shard(path: Path, *, content: bytes) -> None:
    """Writes a shard's bytes, whole or not at all."""
    with replacing_file(path) as fresh:
        fresh.write_bytes(content)


def is_whole(path: Path, *, rows: int) -> bool:
    """Whether the shard is there, readable, and has that many rows."""
    if not path.is_file():
        return False
    try:
        return bool(pq.read_metadata(path).num_rows == rows)
    except pa.ArrowInvalid:
        return False


def count_kinds(paths: list[Path]) -> Counts:
    """Items by family, by level and by record type, over all shards."""
    totals: dict[str, Counter[str]] = {"family": Counter(), "level": Counter(), "type": Counter()}
    for path in paths:
        table = pq.read_table(path, columns=["type", "meta_info"])
        totals["type"].update(table.column("type").to_pylist())
        for meta in map(json.loads, table.column("meta_info").to_pylist()):
            totals["family"][meta[0]["family"]] += 1
            totals["level"][meta[0]["level"]] += 1
    return {name: dict(sorted(counter.items())) for name, counter in totals.items()}


def count_replies(paths: list[Path]) -> dict[str, int]:
    """What a teacher's replies were worth, over all shards; empty when none was asked."""
    total: Counter[str] = Counter()
    for path in paths:
        total.update(json.loads((pq.read_schema(path).metadata or {}).get(TEACHER_KEY, b"{}")))
    return dict(sorted(total.items()))
