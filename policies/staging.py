"""The folder in which finished demonstrations wait until the dataset is complete: `DIR.partial` beside `DIR`.

Every file appears whole or not at all, so a kill at any moment leaves finished episodes only.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vst_vla.policies.recording import Failure, Recording
from vst_vla.vla.contracts import Array
from vst_vla.vla.files import replacing_file, write_json

SETTINGS = "settings.json"
LOCK = "lock"
FAILURES = "failures"
SCALARS = ("task", "task_id", "init_state", "tries", "steps", "variation", "source", "classes")


class Staging:
    """Finished episodes of one data set in the making.

    Args:
        folder: where they wait; made by `open`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def open(self, settings: Mapping[str, Any], *, restart: bool) -> Iterator[None]:
        """Holds the folder for this process; `restart` throws away what a run with other settings left.

        Raises:
            ValueError: another process holds it, it cannot be written to, or it was begun with other settings.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise ValueError(f"cannot write to '{self.folder}': {error.strerror}; choose another out=") from error
        try:
            self._lock(lock)
            self._take_over(settings, restart=restart)
            yield
        finally:
            os.close(lock)

    def has(self, index: int) -> bool:
        """Whether episode `index` is finished."""
        return self._path(index).is_file()

    def put(self, index: int, recording: Recording) -> None:
        """Stores an episode. Raises OSError, leaving no trace of it, when the disk is full."""
        arrays: dict[str, Array] = {"states": recording.states, "actions": recording.actions}
        for key, files in recording.images.items():
            arrays[f"png:{key}"] = np.frombuffer(b"".join(files), dtype=np.uint8)
            arrays[f"length:{key}"] = np.array([len(file) for file in files])
        arrays |= {f"labels:{key}": values for key, values in recording.labels.items()}
        arrays["scalars"] = np.array(json.dumps({name: getattr(recording, name) for name in SCALARS}))
        with replacing_file(self._path(index)) as fresh, fresh.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())

    def get(self, index: int) -> Recording:
        """A finished episode."""
        with np.load(self._path(index), allow_pickle=False) as stored:
            cameras = [name.removeprefix("png:") for name in stored.files if name.startswith("png:")]
            labels = [name for name in stored.files if name.startswith("labels:")]
            scalars = json.loads(str(stored["scalars"]))
            return Recording(
                **(scalars | {"classes": tuple(scalars.get("classes", ()))}),
                states=stored["states"],
                actions=stored["actions"],
                images={key: _split(stored[f"png:{key}"], stored[f"length:{key}"]) for key in cameras},
                labels={name.removeprefix("labels:"): stored[name] for name in labels},
            )

    def tries(self, index: int) -> int:
        """Episodes that were run for a finished one."""
        with np.load(self._path(index), allow_pickle=False) as stored:
            return int(json.loads(str(stored["scalars"]))["tries"])

    @property
    def films(self) -> Path:
        """Where the films of failures are."""
        return self.folder / FAILURES

    def put_failure(self, index: int, failure: Failure) -> None:
        """Notes that episode `index` failed, with its film beside the note."""
        note = self.films / f"episode-{index:06d}.json"
        if failure.film:
            film = f"task{failure.task_id:02d}-{note.stem}.mp4"
            with replacing_file(self.films / film) as fresh:
                fresh.write_bytes(failure.film)
        write_json(note, {"task_id": failure.task_id, "tries": failure.tries, "reason": failure.reason})

    def failures(self) -> dict[int, Failure]:
        """The failed episodes, by index, without their films."""
        notes = sorted(self.films.glob("episode-*.json"))
        return {int(note.stem.removeprefix("episode-")): Failure(**json.loads(note.read_text())) for note in notes}

    def forget_failures(self) -> None:
        """They count as never run."""
        shutil.rmtree(self.films, ignore_errors=True)

    def count(self) -> int:
        """Finished episodes."""
        return len(list(self.folder.glob("episode-*.npz")))

    def remove(self) -> None:
        """Deletes the folder: its episodes are in the data set now."""
        shutil.rmtree(self.folder)

    def _path(self, index: int) -> Path:
        return self.folder / f"episode-{index:06d}.npz"

    def _lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(lock, 32, 0).decode() or "unknown"
            raise ValueError(
                f"process {owner} is already writing to '{self.folder}': wait for it, or choose another out="
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)

    def _take_over(self, settings: Mapping[str, Any], *, restart: bool) -> None:
        path = self.folder / SETTINGS
        difference = first_difference(settings, json.loads(path.read_text())) if path.exists() else None
        if difference and not restart:
            raise ValueError(
                f"'{self.folder}' was begun with {difference}: run with its settings, choose another out=, "
                "or throw it away with overwrite=true"
            )
        if difference:
            path.unlink()
        if not path.exists():
            for episode in self.folder.glob("episode-*"):
                episode.unlink()
            self.forget_failures()
            write_json(path, settings)


def first_difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """The first setting on which two runs differ, such as "seed=0, not 1", or None."""
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            return f"{key}={found.get(key)}, not {wanted.get(key)}"
    return None


def _split(joined: Array, lengths: Array) -> list[bytes]:
    ends = np.cumsum(lengths)
    return [joined[end - length : end].tobytes() for end, length in zip(ends, lengths, strict=True)]
