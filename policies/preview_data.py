"""The numbers of a LeRobot dataset as they lie on disk, read without the checks that training makes.

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

from vst_vla.vla.contracts import ACTION_KEY, STATE_KEY, Array
from vst_vla.vla.data.columns import PICTURE_TYPES, find_columns
from vst_vla.vla.data.layouts import Entry, Layout, read_layout, read_table

COUNTERS = ("timestamp", "frame_index", "episode_index", "task_index")


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeSpan:
    """One episode: frames `start` up to `stop` of the dataset."""

    index: int
    task: str
    start: int
    stop: int
    entry: Entry  # where it is stored
    rows: Array  # of its frames in the data file
    time: Array  # s since its start
    made: Mapping[str, Any]  # its line of meta/vst_vla.json, empty without one

    @property
    def num_frames(self) -> int:
        """Frames in the episode."""
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetNumbers:
    """Everything but the pictures."""

    layout: Layout
    stats: Mapping[str, Any]  # of the action, as stored; empty without any
    vectors: Mapping[str, Array]  # state and action: (T, D) float32
    episodes: tuple[EpisodeSpan, ...]

    @property
    def fps(self) -> float:
        """Frames a second, as the dataset says."""
        return float(self.layout.info["fps"])

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.vectors[ACTION_KEY])

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of the pictures, in the dataset's order."""
        return tuple(key for key, feature in self.layout.features.items() if feature["dtype"] in PICTURE_TYPES)

    @property
    def tasks(self) -> dict[str, list[EpisodeSpan]]:
        """Episodes by their sentence, in the order in which tasks appear."""
        found: dict[str, list[EpisodeSpan]] = {}
        for episode in self.episodes:
            found.setdefault(episode.task, []).append(episode)
        return found

    def names(self, key: str) -> list[str]:
        """What the D entries of state or action are called."""
        width = self.vectors[key].shape[1]
        names = self.layout.features[find_columns(self.layout, keys=[key], cameras=None)[key]].get("names")
        if isinstance(names, Mapping):
            names = next(iter(names.values()), None)
        return list(map(str, names)) if names and len(names) == width else [str(i) for i in range(width)]


def read_numbers(folder: str | Path) -> DatasetNumbers:
    """Reads a dataset folder.

    Raises:
        ValueError: the folder is no LeRobot dataset, holds no frame, or one of its files is missing or damaged.
    """
    layout = read_layout(Path(folder).expanduser())
    columns = find_columns(layout, keys=(STATE_KEY, ACTION_KEY), cameras=None)
    table, rows = _frames(layout, columns=[*columns.values(), *COUNTERS])
    return DatasetNumbers(
        layout=layout,
        stats=_stored_statistics(layout.folder).get(columns[ACTION_KEY], {}),
        vectors={key: _matrix(table, column) for key, column in columns.items()},
        episodes=_episodes(layout, table, rows),
    )


def _stored_statistics(folder: Path) -> dict[str, Any]:
    path = folder / "meta" / "stats.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({error}): download or make the dataset again") from error


def _frames(layout: Layout, *, columns: Sequence[str]) -> tuple[pa.Table, Array]:
    """All frames by episode and time, and the row of each in its file."""
    tables = [read_table(path, columns=columns) for path in dict.fromkeys(entry.data for entry in layout.entries)]
    table = pa.concat_tables([part.select(columns) for part in tables], promote_options="permissive")
    if not len(table):
        raise ValueError(f"{layout.folder} holds no frame: the dataset is empty, record some episodes first")
    rows = np.concatenate([np.arange(len(part)) for part in tables])
    order = np.lexsort([table["frame_index"].to_numpy(), table["episode_index"].to_numpy()])
    return table.take(order), rows[order]


def _matrix(table: pa.Table, key: str) -> Array:
    column = table[key].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values.reshape(len(column), -1), dtype=np.float32)


def _episodes(layout: Layout, table: pa.Table, rows: Array) -> tuple[EpisodeSpan, ...]:
    of_frame, time = table["episode_index"].to_numpy(), table["timestamp"].to_numpy()
    made = layout.conventions.get("episodes", ())
    spans = []
    for entry in layout.entries:
        start, stop = np.searchsorted(of_frame, [entry.index, entry.index + 1]).tolist()
        if start == stop:
            raise ValueError(f"'{entry.data}' holds no frame of episode {entry.index}: download or make it again")
        task = int(table["task_index"][start].as_py())
        spans.append(
            EpisodeSpan(
                index=entry.index,
                task=layout.tasks.get(task, f"task {task}, which has no sentence"),
                start=start,
                stop=stop,
                entry=entry,
                rows=rows[start:stop],
                time=time[start:stop],
                made=made[entry.index] if entry.index < len(made) else {},
            )
        )
    return tuple(spans)
