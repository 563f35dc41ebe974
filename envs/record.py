"""One line of JSON for every finished episode: written as it ends, read back to resume or to report."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
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
    protocol: str  # name of its yaml
    seed: int  # of the policy's draws and of the changes to scenes
    env_seed: int  # the simulator's in the first trial
    image_size: int
    execute: int  # actions executed of every chunk
    max_steps: int  # control steps before an episode is cut
    settle_steps: int  # control steps before the first action


EpisodeKey = tuple[int, int, tuple[str, ...], float]
"""Task, initial state, axes along which the scene was changed, and how far: an episode's name within its run."""

CANNOT_VARY = "CannotVary"
"""How the error of an episode begins whose scene cannot be changed as asked: nothing was tried in it."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One finished episode. Everything but `wall_s` and `revision` is the same whenever the episode is run again.

    `success` is whether the goal held at any control step. `error` holds what ended the episode before its time: a
    simulator that broke, a worker or server that was lost again and again. Such an episode counts as a failure and is
    run again on resume. `axes` and `strength` say what was asked of `envs/perturb`, `perturbation` what it did; they
    are empty for official scenes. `episode_seed` is the simulator's. `video` is relative to the records' folder.
    """

    run: RunIdentity
    task_id: int
    task: str
    init_state: int
    success: bool
    num_steps: int
    wall_s: float
    episode_seed: int = 0
    axes: tuple[str, ...] = ()
    strength: float = 0.0
    perturbation: dict[str, Any] = field(default_factory=dict)
    revision: str = ""
    error: str = ""
    video: str = ""

    @property
    def key(self) -> EpisodeKey:
        """Its name within its run."""
        return self.task_id, self.init_state, self.axes, self.strength

    @property
    def is_trial(self) -> bool:
        """Whether the policy had its chance: false where the scene could not be made."""
        return not self.error.startswith(CANNOT_VARY)

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
        return cls(run=run, **{**values, "axes": tuple(values["axes"])})


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
        """All whole records, the last one of an episode that was run again after an error.

        Raises:
            ValueError: naming a damaged line, or one that repeats an episode which had ended well.
        """
        latest: dict[EpisodeKey, EpisodeRecord] = {}
        for number, line in enumerate(self._whole_lines(), start=1):
            record = self._parse(line, number)
            if record.key in latest and not latest[record.key].error:
                raise ValueError(
                    f"line {number} of {self.path} repeats {describe_key(record.key)}: remove one of the two lines"
                )
            latest[record.key] = record
        return list(latest.values())

    def _parse(self, line: bytes, number: int) -> EpisodeRecord:
        try:
            return EpisodeRecord.from_json(line.decode())
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"line {number} of {self.path} is no episode record ({error}): remove that line, "
                "or use another out folder"
            ) from error

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keeps other processes out of the folder. Raises ValueError when one is at work in it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(folder)
            raise ValueError(
                f"another process writes to '{self.path.parent}': wait for it, or choose another out="
            ) from error
        try:
            yield
        finally:
            os.close(folder)

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


def require_same_run(ours: RunIdentity, theirs: RunIdentity, *, where: str, ours_name: str = "this run") -> None:
    """Raises ValueError naming the first setting on which records already in a folder differ from this run."""
    stored: dict[str, Any] = asdict(theirs)
    for key, value in asdict(ours).items():
        if stored[key] != value:
            raise ValueError(
                f"{where} holds episodes with {key}={stored[key]}, {ours_name} has {key}={value}: use another out "
                "folder, or remove that one"
            )


def describe_key(key: EpisodeKey) -> str:
    """An episode's name for people: "task 0, state 3, camera 0.5"."""
    task_id, init_state, axes, strength = key
    return f"task {task_id}, state {init_state}" + (f", {'+'.join(axes)} {strength:g}" if axes else "")


def count_successes(records: Iterable[EpisodeRecord]) -> int:
    """How many episodes succeeded."""
    return sum(record.success for record in records)
