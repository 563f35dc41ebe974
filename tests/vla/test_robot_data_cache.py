"""Decoded pictures on disk: decoded once, shared, kept within the limit, never half-written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vst_vla.vla.contracts import IMAGE_KEYS, Array
from vst_vla.vla.data.pictures import ParquetPictures
from vst_vla.vla.data.robot import ReaderOptions, RobotDataset

FRAME = 64 * 64 * 3
FRAMES = 21 * 2  # of robot_folder's two cameras


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vst-vla" / "frames"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each decoded block had; a single reading counts as 1."""
    counts: list[int] = []
    decode, read = ParquetPictures.decode, ParquetPictures.read

    def counting_decode(self: ParquetPictures, block: Array) -> Iterator[tuple[int, Array]]:
        counts.append(len(block))
        return decode(self, block)

    def counting_read(self: ParquetPictures, position: int) -> Array:
        counts.append(1)
        return read(self, position)

    monkeypatch.setattr(ParquetPictures, "decode", counting_decode)
    monkeypatch.setattr(ParquetPictures, "read", counting_read)
    return counts


def pictures(dataset: RobotDataset) -> Array:
    samples = [dataset[index] for index in range(len(dataset))]
    return np.stack([[sample[key] for key in dataset.image_keys] for sample in samples])


def test_every_picture_is_decoded_once(robot_folder: Path, cache: Path, decoded: list[int]) -> None:
    first = pictures(RobotDataset(robot_folder, chunk=2))
    assert sum(decoded) == FRAMES
    np.testing.assert_array_equal(first, pictures(RobotDataset(robot_folder, chunk=8)))
    assert sum(decoded) == FRAMES, "the next run finds them"
    assert sorted(path.stat().st_size for path in cache.glob("*.rgb")) == [21 * FRAME] * 2


def test_without_the_cache_nothing_is_written(robot_folder: Path, cache: Path, decoded: list[int]) -> None:
    cached = pictures(RobotDataset(robot_folder, chunk=2))
    files = sorted(cache.iterdir())
    plain = RobotDataset(robot_folder, chunk=2, options=ReaderOptions(cache_gib=0))
    for _ in range(2):
        np.testing.assert_array_equal(pictures(plain), cached)
    assert sum(decoded) == 3 * FRAMES
    assert sorted(cache.iterdir()) == files


def test_what_exceeds_the_limit_is_decoded_at_every_reading(
    robot_folder: Path, cache: Path, decoded: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    options = ReaderOptions(cache_gib=30 * FRAME / 2**30)
    part = RobotDataset(robot_folder, chunk=2, options=options)
    assert sum(decoded) == 30, "all of one camera, nine of the other"
    np.testing.assert_array_equal(pictures(part), pictures(RobotDataset(robot_folder, chunk=2)))
    assert "the rest is decoded at every reading (data.reader.cache_gib=1 keeps all)" in caplog.text


def test_a_callers_changes_stay_his_own(robot_folder: Path, cache: Path) -> None:
    dataset = RobotDataset(robot_folder, chunk=2)
    kept = dataset[3][IMAGE_KEYS[0]].copy()
    dataset[3][IMAGE_KEYS[0]][:] = 0
    np.testing.assert_array_equal(dataset[3][IMAGE_KEYS[0]], kept)


def test_files_used_longest_ago_make_room(robot_folder: Path, cache: Path) -> None:
    limit = ReaderOptions(cache_gib=(FRAMES + 15) * FRAME / 2**30)
    RobotDataset(robot_folder, chunk=2, options=limit)
    old, older = sorted(cache.glob("*.rgb"))
    os.utime(older, (1, 1))
    only = ReaderOptions(cache_gib=limit.cache_gib, episodes=(0,), cameras={"image": "image"})
    RobotDataset(robot_folder, chunk=2, options=only)
    assert old.is_file()
    assert older.is_file(), "12 more pictures fit"
    RobotDataset(robot_folder, chunk=2, options=ReaderOptions(cache_gib=limit.cache_gib, episodes=(1,)))
    assert old.is_file()
    assert not older.exists()


def test_changed_data_are_decoded_anew(robot_folder: Path, cache: Path, decoded: list[int]) -> None:
    RobotDataset(robot_folder, chunk=2)
    (path,) = (robot_folder / "data").rglob("*.parquet")
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    RobotDataset(robot_folder, chunk=2)
    assert sum(decoded) == 2 * FRAMES


def test_a_broken_off_decoding_leaves_nothing(robot_folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite

    def full(file: int, data: bytes, offset: int) -> int:
        if offset > 5 * FRAME:
            raise OSError(28, "No space left on device")
        return write(file, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        message = r"cannot keep decoded pictures .*No space left.* or give data.reader.cache_gib=0"
        with pytest.raises(ValueError, match=message):
            RobotDataset(robot_folder, chunk=2)
    assert [path.name for path in cache.iterdir()] == [".lock"]
    assert len(RobotDataset(robot_folder, chunk=2)) == 21


def test_a_cache_that_cannot_be_made_says_what_to_do(
    robot_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"cannot keep decoded pictures .* set XDG_CACHE_HOME"):
        RobotDataset(robot_folder, chunk=2)
    assert len(RobotDataset(robot_folder, chunk=2, options=ReaderOptions(cache_gib=0))) == 21
