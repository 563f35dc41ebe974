"""H.264 videos that every browser plays. Frames are (H, W, 3) uint8 RGB."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from vst_vla.vla.contracts import Array

PARTIAL_SUFFIX = ".partial"


class VideoWriter:
    """Encodes frames as they come; the file appears under its name only when it is complete.

    MP4, yuv420p, with the index in front (faststart), so that a browser starts before it has read everything. An odd
    height or width is padded by repeating its last row or column, because yuv420p halves both.

    Args:
        path: the file to write; its folder is made.
        fps: frames a second.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        if fps <= 0:
            raise ValueError(f"fps is {fps:g}, expected a positive number of frames a second")
        self.path = path
        self._partial = path.with_name(path.name + PARTIAL_SUFFIX)
        self._fps = Fraction(fps).limit_denominator(1000)
        self._container: Any = None
        self._stream: Any = None

    def add(self, frame: Array) -> None:
        """Appends one frame. Raises ValueError unless it is (H, W, 3) uint8 and as large as the first one."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame is {frame.dtype} {frame.shape}, expected uint8 (H, W, 3)")
        even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        if self._container is None:
            self._open(height=even.shape[0], width=even.shape[1])
        if even.shape[:2] != (self._stream.height, self._stream.width):
            size = (self._stream.height, self._stream.width)
            raise ValueError(f"a frame has size {even.shape[:2]}, expected {size} like the first one")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        self._container.mux(self._stream.encode(picture))

    def close(self) -> Path:
        """Finishes the file and gives it its name. Raises ValueError when no frame was added."""
        if self._container is None:
            raise ValueError(f"no frames for {self.path.name}: add at least one before closing")
        self._container.mux(self._stream.encode())
        self._container.close()
        self._container = None
        self._partial.replace(self.path)
        return self.path

    def discard(self) -> None:
        """Drops what was encoded so far; nothing is left on disk."""
        if self._container is not None:
            self._container.close()
            self._container = None
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _open(self, *, height: int, width: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=self._fps)
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p"
        self._stream.thread_count = 1  # one of several workers, each with a core of its own
        self._stream.options = {"crf": "23", "preset": "veryfast"}


def remove_partial(folder: Path) -> None:
    """Removes what an interrupted writer left in `folder`."""
    for leftover in folder.glob(f"*{PARTIAL_SUFFIX}"):
        leftover.unlink()
