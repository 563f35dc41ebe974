"""Shards of one evaluation, run apart (tasks, initial states or axes on several machines), put together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from vst_vla.envs.record import (
    RECORDS_FILE,
    EpisodeKey,
    EpisodeRecord,
    RecordFile,
    describe_key,
    require_same_run,
)


def read_run(folder: Path) -> list[EpisodeRecord]:
    """The episodes of a finished or unfinished run. Raises ValueError for a folder that holds none."""
    records = RecordFile(folder / RECORDS_FILE).read()
    if not records:
        raise ValueError(f"'{folder}' holds no {RECORDS_FILE} with episodes: give a folder of `vst-vla rollout`")
    return records


def merge_runs(folders: Sequence[Path], *, out: Path) -> list[EpisodeRecord]:
    """Writes the episodes of all folders, with their videos, into `out`, and returns them by task and initial state.

    An episode that ended in an error gives way to its repetition in another shard.

    Raises:
        ValueError: shards of different protocols, assets, checkpoints or other settings, an episode in two of them, or
            an `out` that holds episodes already.
    """
    target = RecordFile(out / RECORDS_FILE)
    if target.path.exists():
        raise ValueError(f"'{out}' holds episodes already: choose another out=")
    shards = {folder: read_run(folder) for folder in folders}
    first = next(iter(shards))
    merged: dict[EpisodeKey, tuple[Path, EpisodeRecord]] = {}
    for folder, records in shards.items():
        require_same_run(shards[first][0].run, records[0].run, where=str(folder), ours_name=f"'{first}'")
        for record in records:
            _add(merged, folder, record)
    ordered = [merged[key] for key in sorted(merged)]
    with target.hold():
        for folder, record in ordered:
            _take_video(folder, record, out=out)
            target.append(record)
    return [record for _, record in ordered]


def _add(merged: dict[EpisodeKey, tuple[Path, EpisodeRecord]], folder: Path, record: EpisodeRecord) -> None:
    known = merged.get(record.key)
    if known and not known[1].error and not record.error:
        raise ValueError(
            f"{describe_key(record.key)} is in '{known[0]}' and in '{folder}': leave one of the two out, an episode "
            "counts once"
        )
    if known is None or known[1].error:
        merged[record.key] = folder, record


def _take_video(folder: Path, record: EpisodeRecord, *, out: Path) -> None:
    source = folder / record.video
    if record.video and source.is_file():
        (out / record.video).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, out / record.video)
