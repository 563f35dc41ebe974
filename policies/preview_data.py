"""The numbers of a LeRobot v3 dataset as they lie on disk, read without the checks that training makes.

A preview has to show what is wrong with a dataset, so NaNs, other widths and other frame rates are read like the rest.
Letters: T frames of the dataset, D width of a feature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vst_vla.vla.contracts import ACTION_KEY, STATE_KEY, Array

FORMAT = "v3.0"
RECORD = "vst_vla.json"
PICTURE_TYPES = ("image", "video")
COUNTERS = ("index", "episode_index", "task_index")


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeSpan:
    """One episode: frames `start` up to `stop` of the dataset."""

    index: int
    task: str
    start: int
    stop: int
    file: Path  # the parquet file that holds its frames
    place: Mapping[str, Any]  # its line of meta/episodes: where its videos are
    made: Mapping[str, Any]  # its line of meta/vst_vla.json, empty without one

    @property
    def num_frames(self) -> int:
        """Frames in the episode."""
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetNumbers:
    """Everything but the pictures."""

    folder: Path
    info: Mapping[str, Any]
    stats: Mapping[str, Any]
    made: Mapping[str, Any]  # meta/vst_vla.json, empty without one
    vectors: Mapping[str, Array]  # action and, where there is one, state: (T, D) float32
    episodes: tuple[EpisodeSpan, ...]

    @property
    def fps(self) -> float:
        """Frames a second."""
        return float(self.info["fps"])

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.vectors[ACTION_KEY])

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of the pictures, in the dataset's order."""
        return tuple(key for key, value in self.info["features"].items() if value["dtype"] in PICTURE_TYPES)

    @property
    def tasks(self) -> dict[str, list[EpisodeSpan]]:
        """Episodes by their sentence, in the order in which tasks appear."""
        found: dict[str, list[EpisodeSpan]] = {}
        for episode in self.episodes:
            found.setdefault(episode.task, []).append(episode)
        return found

    def names(self, key: str) -> list[str]:
        """What the D entries of a vector are called."""
        width = self.vectors[key].shape[1]
        names = self.info["features"][key].get("names")
        if isinstance(names, Mapping):
            names = next(iter(names.values()), None)
        return list(map(str, names)) if names and len(names) == width else [str(i) for i in range(width)]


def read_numbers(folder: str | Path) -> DatasetNumbers:
    """Reads a dataset folder.

    Raises:
        ValueError: the folder is no LeRobot v3 dataset, holds no frame, or one of its files is missing or damaged.
    """
    folder = Path(folder).expanduser()
    info = _info(folder)
    keys = [key for key in (STATE_KEY, ACTION_KEY) if key in info["features"]]
    if ACTION_KEY not in keys:
        raise ValueError(f"'{folder}' has no '{ACTION_KEY}', found {', '.join(info['features'])}: rename its columns")
    table, files = _frames(folder, columns=[*keys, *COUNTERS])
    made = _json(folder / "meta" / RECORD) if (folder / "meta" / RECORD).is_file() else {}
    stats = _json(folder / "meta" / "stats.json") if (folder / "meta" / "stats.json").is_file() else {}
    return DatasetNumbers(
        folder=folder,
        info=info,
        stats=stats,
        made=made,
        vectors={key: _matrix(table, key) for key in keys},
        episodes=_episodes(folder, table, files, made.get("episodes", ())),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"'{path}' is no JSON ({error}): copy or make the dataset again") from error
    return content


def _info(folder: Path) -> dict[str, Any]:
    path = folder / "meta" / "info.json"
    if not path.is_file():
        raise ValueError(
            f"'{folder}' is no LeRobot dataset: meta/info.json is missing; give the folder that holds meta/ and data/"
        )
    info = _json(path)
    if info.get("codebase_version") != FORMAT:
        raise ValueError(
            f"'{folder}' has LeRobot format {info.get('codebase_version')}, expected {FORMAT}: "
            "convert it with LeRobot's own script"
        )
    return info


def read_table(path: Path, *, columns: Sequence[str] | None = None, filters: Any = None) -> pa.Table:
    """A parquet file's columns; raises ValueError with its path when it is missing or damaged."""
    try:
        return pq.read_table(path, columns=columns, filters=filters)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot read '{path}' ({reason}): copy or make the dataset again") from error


def _frames(folder: Path, *, columns: list[str]) -> tuple[pa.Table, Array]:
    """All frames in order, and the parquet file (path) of each."""
    paths = sorted(folder.glob("data/chunk-*/file-*.parquet"))
    tables = [read_table(path, columns=columns) for path in paths]
    if not sum(map(len, tables)):
        raise ValueError(f"'{folder}' holds no frame in data/chunk-*/file-*.parquet: record some episodes first")
    table = pa.concat_tables(tables)
    order = pc.sort_indices(table["index"])
    files = np.repeat(np.array(paths, dtype=object), [len(part) for part in tables])
    return table.take(order), files[order.to_numpy()]


def _matrix(table: pa.Table, key: str) -> Array:
    column = table[key].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values.reshape(len(column), -1), dtype=np.float32)


def _episodes(
    folder: Path, table: pa.Table, files: Array, made: Sequence[Mapping[str, Any]]
) -> tuple[EpisodeSpan, ...]:
    of_frame = table["episode_index"].to_numpy()
    task_of_frame = table["task_index"].to_numpy()
    starts = np.flatnonzero(np.diff(of_frame, prepend=of_frame[0] - 1))
    sentences, places = _tasks(folder), _places(folder)
    return tuple(
        EpisodeSpan(
            index=int(of_frame[start]),
            task=sentences.get(int(task_of_frame[start]), f"task {task_of_frame[start]} without a sentence"),
            start=int(start),
            stop=int(stop),
            file=files[start],
            place=places.get(int(of_frame[start]), {}),
            made=made[int(of_frame[start])] if int(of_frame[start]) < len(made) else {},
        )
        for start, stop in zip(starts, [*starts[1:], len(of_frame)], strict=True)
    )


def _tasks(folder: Path) -> dict[int, str]:
    table = read_table(folder / "meta" / "tasks.parquet")
    names = table["task"] if "task" in table.column_names else table["__index_level_0__"]
    return dict(zip(table["task_index"].to_pylist(), names.to_pylist(), strict=True))


def _places(folder: Path) -> dict[int, dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("meta/episodes/chunk-*/file-*.parquet")):
        table = read_table(path)
        kept = [name for name in table.column_names if name == "episode_index" or name.startswith("videos/")]
        rows += table.select(kept).to_pylist()
    return {row["episode_index"]: row for row in rows}
