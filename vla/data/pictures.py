"""One camera's pictures as stored: PNG or JPEG files inside parquet, or frames of videos.

A source knows which pictures are decoded together (a row group, a video), so that each is decoded once and in the
order of the disk; single pictures can be had too. Sources are small and picklable.
Letters: n pictures of one camera, H/W pixels; a position is a picture's number, 0 to n - 1.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vst_vla.vla.contracts import Array

KEPT_BYTES = 256 * 2**20
"""Encoded pictures of one camera that a process keeps when it reads single ones."""


class PictureSource(Protocol):
    """Pictures of one camera, (H,W,3) uint8 RGB each, or its labels in the same manner."""

    files: tuple[Path, ...]
    column: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def __len__(self) -> int: ...

    def places(self) -> Array:
        """(n, ...) where each picture stands in the files: with these, what names the source's content."""
        ...

    def blocks(self) -> list[Array]:
        """Positions that are best decoded together; every position once."""
        ...

    def decode(self, block: Array) -> Iterator[tuple[int, Array]]:
        """Yields (position, picture) of one block, in any order; several threads may do so."""
        ...

    def read(self, position: int) -> Array:
        """One picture (H,W,3)."""
        ...


def nbytes_each(source: PictureSource) -> int:
    """Size of one decoded picture."""
    return int(np.prod(source.shape)) * source.dtype.itemsize


class ParquetPictures:
    """Pictures in a column of structs {bytes, path}.

    Args:
        files: parquet files.
        column: the camera's key in them.
        file: (n,) which file holds a picture.
        row: (n,) in which row.
        shape: (H, W, 3) of every picture.
    """

    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __init__(
        self, files: Sequence[Path], *, column: str, file: Array, row: Array, shape: tuple[int, int, int]
    ) -> None:
        self.files, self.column, self.shape = tuple(files), column, shape
        self._file, self._row = file, row
        starts = [_group_starts(path) for path in self.files]
        self._group = np.zeros(len(row), dtype=np.int64)
        self._offset = np.zeros(len(row), dtype=np.int64)
        for number, edges in enumerate(starts):
            mine = file == number
            self._group[mine] = np.searchsorted(edges, row[mine], side="right") - 1
            self._offset[mine] = row[mine] - edges[self._group[mine]]
        self._loaded: dict[tuple[int, int], pa.ChunkedArray] = {}

    def __len__(self) -> int:
        return len(self._row)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves loaded bytes behind, so that data loader workers receive a small object."""
        return self.__dict__ | {"_loaded": {}}

    def places(self) -> Array:
        """(n, 2): file and row."""
        return np.stack([self._file, self._row], axis=1)

    def blocks(self) -> list[Array]:
        """The positions of every row group."""
        return _by_value(self._file * (self._group.max() + 1) + self._group)

    def decode(self, block: Array) -> Iterator[tuple[int, Array]]:
        """Yields (position, picture); raises ValueError for a picture that is broken or of another size."""
        pictures = self._read_group(*self._place(int(block[0])))
        for position in block.tolist():
            yield position, self._open(pictures[int(self._offset[position])], position)

    def read(self, position: int) -> Array:
        """One picture, out of row groups that are kept up to `KEPT_BYTES`, oldest dropped first."""
        place = self._place(position)
        if place not in self._loaded:
            self._loaded[place] = self._read_group(*place)
            while len(self._loaded) > 1 and sum(group.nbytes for group in self._loaded.values()) > KEPT_BYTES:
                self._loaded.pop(next(iter(self._loaded)))
        return self._open(self._loaded[place][int(self._offset[position])], position)

    def _place(self, position: int) -> tuple[int, int]:
        return int(self._file[position]), int(self._group[position])

    def _read_group(self, file: int, group: int) -> pa.ChunkedArray:
        with pq.ParquetFile(self.files[file]) as opened:
            return opened.read_row_group(group, columns=[self.column])[self.column]

    def _open(self, stored: pa.Scalar, position: int) -> Array:
        return _open_picture(stored["bytes"].as_py(), self.shape, name=self._name(position))

    def _name(self, position: int) -> str:
        return f"row {self._row[position]} of '{self.files[self._file[position]]}'"


class VideoPictures:
    """Pictures as frames of video files, found by their time.

    The frames are those that LeRobot's own `pyav` reader gives. LeRobot's other decoder (torchcodec) may differ from it
    by rounding in the conversion from YUV.

    Args:
        files: video files.
        column: the camera's key.
        file: (n,) which file holds a picture.
        time: (n,) s into it.
        shape: (H, W, 3) of every picture.
        fps: of the videos; a frame belongs to a time less than a quarter of a period away.

    Raises:
        ValueError: a file is missing.
    """

    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __init__(
        self,
        files: Sequence[Path],
        *,
        column: str,
        file: Array,
        time: Array,
        shape: tuple[int, int, int],
        fps: float,
    ) -> None:
        self.files, self.column, self.shape = tuple(files), column, shape
        self._file, self._time, self._tolerance = file, time, 0.25 / fps
        for path in self.files:
            if not path.is_file():
                raise ValueError(
                    f"'{path}' is missing: download it again, or leave its episodes out (data.reader.skip)"
                )

    def __len__(self) -> int:
        return len(self._time)

    def places(self) -> Array:
        """(n, 2): file and time."""
        return np.stack([self._file, self._time], axis=1)

    def blocks(self) -> list[Array]:
        """The positions of every video."""
        return _by_value(self._file)

    def decode(self, block: Array) -> Iterator[tuple[int, Array]]:
        """Yields (position, picture) of positions in one video; raises ValueError when it is damaged or too short."""
        path = self.files[self._file[block[0]]]
        waiting = sorted(block.tolist(), key=lambda position: self._time[position], reverse=True)
        for time, frame in _video_frames(path, start=float(self._time[waiting[-1]])):
            while waiting and abs(time - self._time[waiting[-1]]) < self._tolerance:
                yield waiting.pop(), _checked(frame.to_ndarray(format="rgb24"), self.shape, name=f"'{path}'")
            if not waiting or self._time[waiting[-1]] < time:
                break
        if waiting:
            raise ValueError(
                f"'{path}' has no frame at {self._time[waiting[-1]]:.2f} s: "
                "download it again, or leave its episodes out (data.reader.skip)"
            )

    def read(self, position: int) -> Array:
        """One picture, decoded from the key frame before it."""
        return next(self.decode(np.array([position])))[1]


def _by_value(values: Array) -> list[Array]:
    """Positions of equal values, together."""
    order = np.argsort(values, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(values[order])) + 1)


def _group_starts(path: Path) -> Array:
    """First row of every row group."""
    with pq.ParquetFile(path) as file:
        rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return np.concatenate([[0], np.cumsum(rows, dtype=np.int64)[:-1]])


def _open_picture(data: bytes | None, shape: tuple[int, int, int], *, name: str) -> Array:
    if not data:
        raise ValueError(f"{name} has no picture: download or make the dataset again")
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture = np.asarray(opened.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{name} has a picture that cannot be decoded: download or make it again") from error
    return _checked(picture, shape, name=name)


def _checked(picture: Array, shape: tuple[int, int, int], *, name: str) -> Array:
    if picture.shape != shape:
        raise ValueError(f"{name} has a picture of shape {picture.shape}, expected {shape} as meta/info.json says")
    return picture


def _video_frames(path: Path, *, start: float) -> Iterator[tuple[float, av.VideoFrame]]:
    """(s, frame) from the key frame at or before `start` on."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            time_base = float(stream.time_base)
            container.seek(round(start / time_base) - 1, backward=True, any_frame=False, stream=stream)
            yield from _timed(container.decode(stream), time_base=time_base)
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"'{path}' cannot be decoded: download it again, or leave its episodes out") from error


def _timed(frames: Iterable[av.VideoFrame], *, time_base: float) -> Iterator[tuple[float, av.VideoFrame]]:
    return ((frame.pts * time_base, frame) for frame in frames if frame.pts is not None)
