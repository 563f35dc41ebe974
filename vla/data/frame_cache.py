"""Decoded pictures in the user's cache, one memory-mapped file a camera: shared by all processes and by later runs.

A file is named by what it was decoded from, is written once and appears when it is whole. The system's page cache keeps
it in memory as far as there is room, once for all processes.
Letters: n pictures of one camera, H/W pixels.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.pictures import PictureSource, nbytes_each
from vst_vla.vla.files import cache_root, replacing_file

SUFFIX = ".rgb"


class Pictures:
    """Pictures of one camera by position, out of the cache as far as it reaches, decoded at every reading beyond.

    Args:
        source: where they come from.
        path: the cache file; None when there is none.
        count: how many pictures it holds, the first ones.
    """

    def __init__(self, source: PictureSource, *, path: Path | None = None, count: int = 0) -> None:
        self.source, self.path, self.count = source, path, count
        self._frames: Array | None = None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, position: int) -> Array:
        """The picture (H,W,3), the caller's own."""
        if position >= self.count:
            return self.source.read(position).copy()
        if self._frames is None:
            assert self.path is not None
            shape = (self.count, *self.source.shape)
            self._frames = np.memmap(self.path, dtype=self.source.dtype, mode="r", shape=shape)
        return np.array(self._frames[position])

    @property
    def nbytes(self) -> int:
        """Size of the cache file."""
        return self.count * nbytes_each(self.source)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the mapping behind: another process makes its own, of the same memory."""
        return self.__dict__ | {"_frames": None}


def open_pictures(source: PictureSource, *, share: int, limit: int) -> Pictures:
    """Pictures out of the cache, which is filled first where this source is not in it yet.

    Args:
        source: where they come from.
        share: bytes that these pictures may take; those beyond are decoded at every reading.
        limit: bytes that the whole cache may take; files that were used longest ago make room.

    Raises:
        ValueError: a picture is broken, or the cache cannot be written.
    """
    size = nbytes_each(source)
    count = min(len(source), share // size)
    if count == 0:
        return Pictures(source)
    folder = cache_root() / "frames"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_name(source)}-{count}{SUFFIX}"
        with _locked(folder / ".lock"):
            if path.is_file():
                os.utime(path)  # the last use, by which files are dropped
            else:
                _make_room(folder, need=count * size, limit=limit)
                _fill(path, source, count=count)
    except OSError as error:
        raise ValueError(
            f"cannot keep decoded pictures in '{folder}' ({error.strerror}): make room there, set XDG_CACHE_HOME to "
            "another folder, or give data.reader.cache_gib=0"
        ) from error
    return Pictures(source, path=path, count=count)


def _fill(path: Path, source: PictureSource, *, count: int) -> None:
    """Decodes the first `count` pictures, in parallel."""
    blocks = [kept for block in source.blocks() if len(kept := block[block < count])]
    with (
        replacing_file(path) as fresh,
        fresh.open("wb") as file,
        tqdm(total=count, unit="picture", desc="decoding pictures", leave=False, delay=2) as bar,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        for done in pool.map(lambda block: _decode_into(file.fileno(), source, block), blocks):
            bar.update(done)
        os.fsync(file.fileno())


def _decode_into(file: int, source: PictureSource, block: Array) -> int:
    for position, picture in source.decode(block):
        os.pwrite(file, picture.tobytes(), position * picture.nbytes)
    return len(block)


def _make_room(folder: Path, *, need: int, limit: int) -> None:
    """Removes files, longest unused first, until `need` bytes more keep to `limit`; OSError if the disk is full."""
    files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    total = need + sum(path.stat().st_size for path in files)
    for path in files:
        if total <= limit:
            break
        total -= path.stat().st_size
        path.unlink()
    if shutil.disk_usage(folder).free < need:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _name(source: PictureSource) -> str:
    """A hash of the files' paths, sizes and times, and of the pictures' places in them."""
    digest = hashlib.sha256(repr((type(source).__name__, source.column, source.shape)).encode())
    for path in source.files:
        stat = path.stat()
        digest.update(repr((str(path.resolve()), stat.st_size, stat.st_mtime_ns)).encode())
    digest.update(np.ascontiguousarray(source.places()).tobytes())
    return digest.hexdigest()[:24]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process of this machine at a time: the others find the finished file."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
