"""Videos that a browser plays, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vst_vla.envs.video import VideoWriter, remove_partial
from vst_vla.vla.contracts import Array


def frames(count: int, *, height: int = 48, width: int = 64) -> list[Array]:
    """A bright square that moves to the right."""
    pictures = np.full((count, height, width, 3), 30, np.uint8)
    for i in range(count):
        pictures[i, 8:24, 4 * i : 4 * i + 16] = (220, 180, 40)
    return list(pictures)


def write(path: Path, pictures: list[Array], *, fps: float = 20) -> Path:
    with VideoWriter(path, fps=fps) as writer:
        for picture in pictures:
            writer.add(picture)
    return path


def test_h264_yuv420p_with_every_frame_and_its_index_in_front(tmp_path: Path) -> None:
    path = write(tmp_path / "sub" / "a.mp4", frames(12))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 20
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 12
    for shown, meant in zip(decoded, frames(12), strict=True):
        assert np.abs(shown.astype(int) - meant).mean() < 6
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert list(path.parent.iterdir()) == [path]


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", frames(3, height=47, width=63))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == (48, 64)


def test_slow_films(tmp_path: Path) -> None:
    with av.open(str(write(tmp_path / "a.mp4", frames(3), fps=20 / 8))) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(2.5)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a frame is"):
        write(tmp_path / "a.mp4", [*frames(2), np.zeros((2, 2), np.uint8)])
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_kill_are_removed_and_films_stay(tmp_path: Path) -> None:
    kept = write(tmp_path / "a.mp4", frames(2))
    (tmp_path / "b.mp4.partial").write_bytes(b"half")
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [kept]


def test_bad_frames(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fps is 0"):
        VideoWriter(tmp_path / "a.mp4", fps=0)
    writer = VideoWriter(tmp_path / "a.mp4", fps=20)
    with pytest.raises(ValueError, match=r"a frame is float64 \(8, 8, 3\), expected uint8"):
        writer.add(np.zeros((8, 8, 3)))
    with pytest.raises(ValueError, match=r"no frames for a\.mp4"):
        writer.close()
    writer.add(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r"expected .* like the first one"):
        writer.add(np.zeros((64, 64, 3), np.uint8))
    writer.discard()
    assert list(tmp_path.iterdir()) == []
