"""Spatial questions in VST's parquet record format: writing it, and reading it with random access. Plain pyarrow.

One row is one conversation. Columns, as in VST's released files (https://github.com/Yangr116/VST), which mix with ours:

    column          parquet type                             content
    conversations   list<struct<from: string, value: string>>  "human" and "gpt" by turns
    id              string
    data_source     string                                   where the row comes from
    images          list<struct<bytes: binary, path: string>>  encoded pictures (PNG, JPEG, ...) or videos (MP4)
    type            string                                   "bbox_3d", "mm_qa", "video", "text"; "thought_..." reasons
    meta_info       string                                   JSON: [{width, height, resized_width, resized_height}, ...]

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

import io
import json
import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.boxes import parse_boxes
from vst_vla.vla.data.record_files import COLUMNS, SCHEMA, Record, Skipped, index_groups, list_files, read_group
from vst_vla.vla.data.videos import frame_sizes, mark_frames, read_frames
from vst_vla.vla.files import replacing_file
from vst_vla.vla.fov import BOX_TYPE
from vst_vla.vla.prompt import record_messages

VIDEO_TYPE = "video"
CACHED_GROUPS = 64
"""Row groups that a reader keeps in memory: all of a small dataset, a window of a large one."""

log = logging.getLogger(__name__)


def write_records(path: Path, *, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes one parquet file, whole or not at all; returns its number of rows.

    Args:
        path: the file to make; its folder is made too.
        records: rows with the module's columns; `meta_info` as JSON text or as a list.

    Raises:
        ValueError: a row lacks a column.
    """
    rows = [_row(record) for record in records]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    with replacing_file(path) as fresh:
        pq.write_table(table, fresh, row_group_size=256, dictionary_pagesize_limit=64 << 20)
    return len(rows)


class SpatialRecords(Sequence[Record]):
    """Random access to one or more parquet files, folders of them, or both.

    An item is a dict: id, data_source, type (str), conversations (list of {from, value}), images (list of (H,W,3) uint8
    RGB arrays), meta_info (list of dicts).

    A row of type "video" is read as its frames (`vla/data/videos.py`): they are its images, each marked in the text.

    A row that cannot be used (see `decode`) is never silent: it is left out, counted and named in `skipped` and in the
    log. With `verify`, every row is decoded once at opening, such rows are not part of the sequence and the log ends
    with their number; without, which suits hundreds of thousands of rows, the next usable row stands in when one is
    met.

    Args:
        paths: parquet files and folders; a folder stands for its `*.parquet`, sorted, subfolders included.
        verify: decode every row at opening (about 1 ms for a small picture).

    Attributes:
        skipped: (file, row in that file, reason) of every unusable row met so far.

    Raises:
        ValueError: no parquet file there, a folder not finished, a file that is not parquet, a missing column, or no
            usable row.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], *, verify: bool = True) -> None:
        self.files = list_files(paths)
        self.skipped: list[Skipped] = []
        self._groups = index_groups(self.files)
        self._read_group = lru_cache(maxsize=CACHED_GROUPS)(read_group)
        self._rows: Sequence[int] = range(self._groups.starts[-1])
        if verify:
            self._verify()
        if not self._rows:
            first = f", the first because {self.skipped[0].reason}" if self.skipped else ""
            raise ValueError(
                f"no usable row in {self.files[0]} and {len(self.files) - 1} more files: "
                f"{len(self.skipped)} skipped{first}"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """The record at `index`; of a slice, a list."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} is out of range: there are {len(self)}")
        for step in range(len(self)):
            record = self._record(self._rows[(index + step) % len(self)])
            if record is not None:
                return record
        raise ValueError(f"none of the {len(self)} rows in {self.files[0]} and its siblings can be used")

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))

    def get(self, index: int, *, pixels: bool = True) -> Record | None:
        """The record at `index`, as `decode` gives it; None, counted and logged, where the row cannot be used."""
        return self._record(self._rows[index], pixels=pixels)

    def texts(self) -> Iterator[str]:
        """Every turn's text, for training a tokenizer; no picture is decoded."""
        for row in self._rows:
            yield from (turn["value"] for turn in self._raw(row)["conversations"])

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the cache behind, so that data loader workers receive a small object."""
        return {key: value for key, value in self.__dict__.items() if key != "_read_group"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._read_group = lru_cache(maxsize=CACHED_GROUPS)(read_group)

    def _verify(self) -> None:
        rows = self._rows
        self._rows = [row for row in rows if self._record(row) is not None]
        if self.skipped:
            log.warning("%d of %d spatial rows cannot be used and are left out", len(self.skipped), len(rows))

    def _raw(self, row: int) -> Record:
        slot = bisect_right(self._groups.starts, row) - 1
        file, group = self._groups.places[slot]
        table = self._read_group(self.files[file], group)
        offset = row - self._groups.starts[slot]
        return {name: table.column(name)[offset].as_py() for name in COLUMNS}

    def _record(self, row: int, *, pixels: bool = True) -> Record | None:
        """The row decoded; None, counted and logged at the first refusal, when it cannot be."""
        try:
            return decode(self._raw(row), pixels=pixels)
        except ValueError as error:
            self._skip(row, str(error))
            return None

    def _skip(self, row: int, reason: str) -> None:
        file = bisect_right(self._groups.firsts, row) - 1
        entry = Skipped(self.files[file], row - self._groups.firsts[file], reason)
        if entry not in self.skipped:
            self.skipped.append(entry)
            log.warning("skipping row %d of %s: %s (%d skipped)", entry.row, entry.file, reason, len(self.skipped))


def decode(raw: Mapping[str, Any], *, pixels: bool = True) -> Record:
    """One row as stored -> the record that `SpatialRecords` yields.

    Args:
        raw: the row.
        pixels: False puts (H, W) in the place of each picture, read from its header without decoding it.

    Raises:
        ValueError: naming the row's id and what is wrong with it: its turns or speakers, a picture or video that cannot
            be decoded, another number of markers in the text than pictures, `meta_info` that is not JSON, or an answer
            of type "bbox_3d" that holds no list of boxes.
    """
    name = raw["id"]
    turns = raw["conversations"] or []
    if not turns or any(not turn or not turn.get("from") or turn.get("value") is None for turn in turns):
        raise ValueError(f"record '{name}' has no conversation of {{from, value}} turns")
    kind = raw["type"] or "mm_qa"
    raw = {**raw, "type": kind, "meta_info": _meta(raw["meta_info"], name)}
    if BOX_TYPE in kind:
        _check_boxes(turns, name)
    record = (_decode_video if VIDEO_TYPE in kind else _decode_pictures)(raw, name, pixels=pixels)
    record_messages(record)  # refuses what no prompt can be made of
    return record


def encode_png(image: Array) -> bytes:
    """A picture (H,W,3) uint8 as PNG; the same picture gives the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _row(record: Mapping[str, Any]) -> Record:
    missing = [name for name in COLUMNS if name not in record]
    if missing:
        raise ValueError(
            f"record '{record.get('id', '?')}' lacks {', '.join(missing)}: a row needs {', '.join(COLUMNS)}"
        )
    meta = record["meta_info"]
    return {
        **{name: record[name] for name in COLUMNS},
        "meta_info": meta if isinstance(meta, str) else json.dumps(meta),
    }


def _check_boxes(turns: Sequence[Mapping[str, str]], name: str) -> None:
    for turn in turns:
        if turn["from"] == "gpt":
            try:
                parse_boxes(turn["value"])
            except ValueError as error:
                raise ValueError(f"record '{name}' has {error}") from error


def _decode_pictures(raw: Record, name: str, *, pixels: bool) -> Record:
    read = decode_picture if pixels else picture_size
    images = [] if raw["type"] == "text" else [read(image, name=name) for image in raw["images"] or []]
    return {**raw, "images": images}


def _decode_video(raw: Record, name: str, *, pixels: bool) -> Record:
    files = [_bytes(video, name) for video in raw["images"] or []]
    if not files:
        raise ValueError(f"record '{name}' is of type '{raw['type']}' but carries no video")
    try:
        videos: list[Any] = [read_frames(data) if pixels else frame_sizes(data) for data in files]
        turns = mark_frames(raw["conversations"], num_frames=[len(frames) for frames in videos])
    except ValueError as error:
        raise ValueError(f"record '{name}' has {error}") from error
    return {**raw, "conversations": turns, "images": [frame for frames in videos for frame in frames]}


def _bytes(entry: Mapping[str, Any] | None, name: str) -> bytes:
    data = entry and entry.get("bytes")
    if not data:
        raise ValueError(f"record '{name}' has a picture without bytes")
    return bytes(data)


def decode_picture(image: Mapping[str, Any] | None, *, name: str) -> Array:
    """A stored picture (H,W,3) uint8 of record `name`. Raises ValueError when it cannot be decoded."""
    with _opened(image, name) as opened:
        return np.asarray(opened.convert("RGB"))


def picture_size(image: Mapping[str, Any] | None, *, name: str) -> tuple[int, int]:
    """(H, W) of a stored picture of record `name`, from its header. Raises ValueError when there is none."""
    with _opened(image, name) as opened:
        return opened.height, opened.width


@contextmanager
def _opened(image: Mapping[str, Any] | None, name: str) -> Iterator[Image.Image]:
    data = _bytes(image, name)
    try:
        with Image.open(io.BytesIO(data)) as opened:
            yield opened
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"record '{name}' has a picture that cannot be decoded ({type(error).__name__})") from error


def _meta(text: str | None, name: str) -> list[Any]:
    try:
        meta = json.loads(text or "[]")
    except json.JSONDecodeError as error:
        raise ValueError(f"record '{name}' has a meta_info that is not JSON") from error
    return meta if isinstance(meta, list) else [meta]
