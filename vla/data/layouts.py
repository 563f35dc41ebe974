"""What a LeRobot dataset folder holds, read from its metadata: formats v3.0, v2.1 and v2.0 give the same `Layout`.

format      episodes                  tasks               a data file   pictures
v3.0        meta/episodes/*.parquet   meta/tasks.parquet  many episodes  in the data files, or many episodes a video
v2.1, v2.0  meta/episodes.jsonl       meta/tasks.jsonl    one episode    in the data files, or one episode a video
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

INFO, CONVENTIONS = "meta/info.json", "meta/vst_vla.json"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One episode's stretch of a video file."""

    path: Path
    start: float  # s into the file


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where one episode is stored."""

    index: int
    length: int  # frames
    data: Path
    clips: Mapping[str, Clip]  # by video key


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A dataset's metadata, the same for every format."""

    folder: Path
    info: Mapping[str, Any]  # meta/info.json
    tasks: Mapping[int, str]
    entries: tuple[Entry, ...]  # by episode index
    conventions: Mapping[str, Any]  # meta/vst_vla.json; empty in datasets that were made elsewhere

    @property
    def features(self) -> Mapping[str, Mapping[str, Any]]:
        """The dataset's columns: key -> {"dtype", "shape", "names"}."""
        features: Mapping[str, Mapping[str, Any]] = self.info["features"]
        return features

    def select(self, episodes: Sequence[int] | None, *, skip: Sequence[int] = ()) -> tuple[Entry, ...]:
        """The entries of `episodes` (None for all) but those of `skip`, in the dataset's order.

        Raises:
            ValueError: an index that is not there, or nothing left.
        """
        known = {entry.index for entry in self.entries}
        for index in (*(episodes or ()), *skip):
            if index not in known:
                raise ValueError(f"{self.folder}: no episode {index}, expected {min(known)} to {max(known)}")
        wanted = (known if episodes is None else set(episodes)) - set(skip)
        if not wanted:
            raise ValueError(f"{self.folder}: no episode is left to read: choose at least one of {len(known)}")
        return tuple(entry for entry in self.entries if entry.index in wanted)


def read_layout(folder: Path) -> Layout:
    """Reads the metadata of a dataset folder; no data file is opened.

    Raises:
        ValueError: a folder that is no LeRobot dataset, a format not known here, or damaged or missing metadata.
    """
    info = _read_json(folder, INFO)
    version = info.get("codebase_version")
    if version not in READERS:
        raise ValueError(
            f"{folder}: LeRobot format {version}, expected {', '.join(READERS)}: convert it with LeRobot's own scripts"
        )
    for key in ("fps", "features", "data_path"):
        if key not in info:
            raise ValueError(f"{folder}: {INFO} has no '{key}': download or make the dataset again")
    read_entries, read_tasks = READERS[version]
    entries = tuple(sorted(read_entries(folder, info), key=lambda entry: entry.index))
    if not entries:
        raise ValueError(f"{folder} holds no episode: the dataset is empty, make it again")
    said = _read_json(folder, CONVENTIONS) if (folder / CONVENTIONS).is_file() else {}
    return Layout(folder=folder, info=info, tasks=read_tasks(folder), entries=entries, conventions=said)


def read_table(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """A parquet file's columns; raises ValueError when the file is missing or damaged."""
    try:
        return pq.read_table(path, columns=None if columns is None else list(columns))
    except FileNotFoundError as error:
        raise ValueError(
            f"'{path}' is missing: download it again, or leave its episodes out (data.reader.skip)"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"'{path}' is no parquet file, or was cut short: download or make it again") from error


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{folder} is no LeRobot dataset: {name} is missing; make one with `vst-vla demos`")
    return _parse(path, path.read_text(encoding="utf-8"))


def _read_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{folder}: {name} is missing: download the dataset again")
    return [_parse(path, line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"'{path}' is not JSON ({error}): download or make it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"'{path}' holds {type(content).__name__} where an object was expected: download it again")
    return content


def _video_keys(info: Mapping[str, Any]) -> list[str]:
    return [key for key, feature in info["features"].items() if feature["dtype"] == "video"]


def _entries_v3(folder: Path, info: Mapping[str, Any]) -> list[Entry]:
    files = sorted(folder.glob("meta/episodes/chunk-*/file-*.parquet"))
    if not files:
        raise ValueError(f"{folder}: meta/episodes/chunk-*/file-*.parquet is missing: download the dataset again")
    places = [f"videos/{key}/{name}" for key in _video_keys(info) for name in CLIP_COLUMNS]
    columns = ["episode_index", "length", "data/chunk_index", "data/file_index", *places]
    rows = [row for file in files for row in read_table(file, columns=columns).to_pylist()]
    return [_entry_v3(folder, info, row) for row in rows]


CLIP_COLUMNS = ("chunk_index", "file_index", "from_timestamp")


def _entry_v3(folder: Path, info: Mapping[str, Any], row: Mapping[str, Any]) -> Entry:
    clips = {}
    for key in _video_keys(info):
        chunk, file, start = (row[f"videos/{key}/{name}"] for name in CLIP_COLUMNS)
        path = folder / info["video_path"].format(video_key=key, chunk_index=chunk, file_index=file)
        clips[key] = Clip(path=path, start=float(start))
    data = info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
    return Entry(index=row["episode_index"], length=row["length"], data=folder / data, clips=clips)


def _tasks_v3(folder: Path) -> dict[int, str]:
    table = read_table(folder / "meta" / "tasks.parquet")
    names = table["task"] if "task" in table.column_names else table["__index_level_0__"]
    return dict(zip(table["task_index"].to_pylist(), names.to_pylist(), strict=True))


def _entries_v2(folder: Path, info: Mapping[str, Any]) -> list[Entry]:
    return [_entry_v2(folder, info, row) for row in _read_lines(folder, "meta/episodes.jsonl")]


def _entry_v2(folder: Path, info: Mapping[str, Any], row: Mapping[str, Any]) -> Entry:
    index = row["episode_index"]
    place = {"episode_chunk": index // info["chunks_size"], "episode_index": index}
    clips = {
        key: Clip(path=folder / info["video_path"].format(video_key=key, **place), start=0.0)
        for key in _video_keys(info)
    }
    return Entry(index=index, length=row["length"], data=folder / info["data_path"].format(**place), clips=clips)


def _tasks_v2(folder: Path) -> dict[int, str]:
    return {row["task_index"]: row["task"] for row in _read_lines(folder, "meta/tasks.jsonl")}


ReadEntries = Callable[[Path, Mapping[str, Any]], list[Entry]]
ReadTasks = Callable[[Path], dict[int, str]]

READERS: dict[str, tuple[ReadEntries, ReadTasks]] = {
    "v3.0": (_entries_v3, _tasks_v3),
    "v2.1": (_entries_v2, _tasks_v2),
    "v2.0": (_entries_v2, _tasks_v2),
}
"""Formats that are known, newest first."""
