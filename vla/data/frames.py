"""The numbers of a dataset's frames, in memory: states, actions, times, and in which file each frame's row stands.

Letters: n frames, S state, A action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.layouts import Entry, read_table

INDICES = ("episode_index", "frame_index", "task_index", "timestamp")


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Frames ordered by episode and time."""

    vectors: Mapping[str, Array]  # column -> (n, width) float32
    episode: Array  # (n,) index of the episode
    task: Array  # (n,) index of the task
    time: Array  # (n,) s since the episode's start
    files: tuple[Path, ...]  # data files
    file: Array  # (n,) which of them holds the frame
    row: Array  # (n,) in which of its rows

    def __len__(self) -> int:
        return len(self.episode)


def read_frames(entries: Sequence[Entry], *, columns: Sequence[str]) -> Frames:
    """Reads vector columns of the given episodes; pictures are left where they are.

    Raises:
        ValueError: a data file is missing or cut short, an episode has another length than its metadata say, or a
            number is not finite.
    """
    files = tuple(dict.fromkeys(entry.data for entry in entries))
    tables = [read_table(file, columns=[*columns, *INDICES]) for file in files]
    file = np.repeat(np.arange(len(files)), [len(table) for table in tables])
    row = np.concatenate([np.arange(len(table)) for table in tables])
    table = pa.concat_tables([table.select([*columns, *INDICES]) for table in tables], promote_options="permissive")
    index = {name: table[name].to_numpy() for name in INDICES}
    order = np.lexsort([index["frame_index"], index["episode_index"]])
    order = order[np.isin(index["episode_index"][order], [entry.index for entry in entries])]
    _check_lengths(entries, index["episode_index"][order])
    vectors = {name: _matrix(table, name)[order] for name in columns}
    for name, values in vectors.items():
        _check_finite(
            name, values, episode=index["episode_index"][order], frame=index["frame_index"][order], files=files
        )
    return Frames(
        vectors=vectors,
        episode=index["episode_index"][order],
        task=index["task_index"][order],
        time=index["timestamp"][order].astype(np.float64),
        files=files,
        file=file[order],
        row=row[order],
    )


def _matrix(table: pa.Table, column: str) -> Array:
    values = table[column].combine_chunks()
    flat = values.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(len(values), -1), dtype=np.float32)


def _check_lengths(entries: Sequence[Entry], episode: Array) -> None:
    indices, counts = np.unique(episode, return_counts=True)
    found = dict(zip(indices.tolist(), counts.tolist(), strict=True))
    for entry in entries:
        if found.get(entry.index, 0) != entry.length:
            raise ValueError(
                f"'{entry.data}' holds {found.get(entry.index, 0)} frames of episode {entry.index}, expected "
                f"{entry.length}: download or make it again, or leave the episode out (data.reader.skip)"
            )


def _check_finite(name: str, values: Array, *, episode: Array, frame: Array, files: Sequence[Path]) -> None:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"{files[0].parents[2]}: {name} of episode {episode[first]}, frame {frame[first]} holds a NaN or infinity, "
            "expected finite numbers: leave the episode out (data.reader.skip)"
        )
