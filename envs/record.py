"""One line of JSON for every finished episode: written as it ends, read back to resume or to report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

RECORDS_FILE = "records.jsonl"


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What must be equal for episodes to belong to one evaluation."""

    suite: str
    policy: str
    checkpoint: str  # hash of the checkpoint's files, "" for policies without one
    assets: str  # official, stand-in or placeholder
    seed: int
    image_size: int
    execute: int  # actions executed of every chunk
    max_steps: int  # control steps before an episode is cut


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One finished episode. Everything but `wall_s` is the same whenever the episode is run again.

    `success` is whether the goal held at any control step. `error` holds what the simulator said when it broke; such
    an episode counts as a failure and is run again on resume. `video` is relative to the records' folder.
    """

    run: RunIdentity
    task_id: int
    task: str
    init_state: int
    success: bool
    num_steps: int
    wall_s: float
    error: str = ""
    video: str = ""

    @property
    def key(self) -> tuple[int, int]:
        """Task and initial state: an episode's name within its run."""
        return self.task_id, self.init_state

    def to_json(self) -> str:
        """One flat line: the run's fields first."""
        own = asdict(self)
        return json.dumps({**own.pop("run"), **own})

    @classmethod
    def from_json(cls, line: str) -> EpisodeRecord:
        """The inverse of `to_json`. Raises ValueError when the line is no JSON object with exactly these fields."""
        values = json.loads(line)
        expected = {f.name for f in (*fields(RunIdentity), *fields(cls))} - {"run"}
        if not isinstance(values, dict) or set(values) != expected:
            found = set(values) if isinstance(values, dict) else set()
            raise ValueError(f"fields differ: {', '.join(sorted(found ^ expected))}")
        run = RunIdentity(**{f.name: values.pop(f.name) for f in fields(RunIdentity)})
        return cls(run=run, **values)


class RecordFile:
    """An append-only JSON-lines file of episodes.

    A line is written with one system call and synced to disk, so a kill leaves whole lines, at worst a torn last one,
    which reading ignores and the next append cuts off.

    Args:
        path: the file; made at the first append.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[EpisodeRecord]:
        """All whole records, the last one for each episode. Raises ValueError naming a damaged line."""
        latest: dict[tuple[int, int], EpisodeRecord] = {}
        for number, line in enumerate(self._whole_lines(), start=1):
            try:
                record = EpisodeRecord.from_json(line.decode())
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"line {number} of {self.path} is no episode record ({error}): remove that line, "
                    "or use another out folder"
                ) from error
            latest[record.key] = record
        return list(latest.values())

    def append(self, record: EpisodeRecord) -> None:
        """Adds one line, on disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = sum(len(line) + 1 for line in self._whole_lines())
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, whole)
            line = (record.to_json() + "\n").encode()
            written = os.pwrite(descriptor, line, whole)
            if written != len(line):
                os.ftruncate(descriptor, whole)
                raise OSError(f"{self.path} could not take another line: is the disk full?")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def resume(self, run: RunIdentity) -> list[EpisodeRecord]:
        """The episodes that need not be run again. Raises ValueError when the file belongs to another configuration."""
        records = self.read()
        for record in records:
            require_same_run(run, record.run, where=str(self.path.parent))
        return [record for record in records if not record.error]

    def _whole_lines(self) -> list[bytes]:
        """The lines that end in a newline; what follows the last newline was torn off by a kill."""
        if not self.path.exists():
            return []
        return self.path.read_bytes().split(b"\n")[:-1]


def require_same_run(ours: RunIdentity, theirs: RunIdentity, *, where: str) -> None:
    """Raises ValueError naming the first setting on which records already in a folder differ from this run."""
    stored: dict[str, Any] = asdict(theirs)
    for key, value in asdict(ours).items():
        if stored[key] != value:
            raise ValueError(
                f"{where} holds episodes with {key}={stored[key]}, this run has {key}={value}: use another out folder, "
                "or remove that one"
            )


def count_successes(records: Iterable[EpisodeRecord]) -> int:
    """How many episodes succeeded."""
    return sum(record.success for record in records)
