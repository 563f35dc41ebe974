"""LeRobot v3 folders of any keys, read back with LeRobot itself."""

from __future__ import annotations

import gc
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vst_vla.vla.data import lerobot_writer
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset

NAMES = {"observation.state": ["a", "b"], "action": ["u", "v", "w"]}
CAMERA = "observation.images.top"


def png(value: int, size: tuple[int, int] = (24, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def episode(
    length: int, *, task: str = "stack the cups", seed: int = 0, images: bool = True, size: tuple[int, int] = (24, 32)
) -> Episode:
    rng = np.random.default_rng(seed)
    vectors = {
        "observation.state": rng.normal(size=(length, 2)).astype(np.float32),
        "action": rng.uniform(-1, 1, size=(length, 3)).astype(np.float32),
    }
    return Episode(
        task=task, vectors=vectors, images={CAMERA: [png(10 * t, size) for t in range(length)]} if images else {}
    )


def write(folder: Path, episodes: list[Episode], **more: Any) -> None:
    write_dataset(folder, episodes, fps=10, robot_type="so100", names=NAMES, **more)


def opened(folder: Path) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("a/b", root=folder, video_backend="pyav")


def test_lerobot_reads_what_was_written(tmp_path: Path) -> None:
    given = [episode(7), episode(9, task="fold the towel", seed=1), episode(5, seed=2)]
    write(tmp_path / "set", given, extra={"note.json": {"by": "us"}})
    dataset = opened(tmp_path / "set")
    assert (len(dataset), dataset.num_episodes, dataset.fps) == (21, 3, 10)
    sample = dataset[7 + 4]
    assert sample["task"] == "fold the towel"
    assert int(sample["episode_index"]) == 1
    assert float(sample["timestamp"]) == pytest.approx(0.4)
    np.testing.assert_array_equal(sample["action"], given[1].vectors["action"][4])
    np.testing.assert_array_equal(sample["observation.state"], given[1].vectors["observation.state"][4])
    np.testing.assert_allclose(sample[CAMERA], 40 / 255, atol=1e-6)
    assert dataset.meta.features["action"]["names"] == ["u", "v", "w"]
    assert json.loads((tmp_path / "set" / "meta" / "note.json").read_text()) == {"by": "us"}


def test_statistics_are_exact_over_all_episodes(tmp_path: Path) -> None:
    given = [episode(40, seed=s, images=False) for s in range(3)]
    write(tmp_path / "set", given)
    stats = opened(tmp_path / "set").meta.stats["action"]
    frames = np.concatenate([e.vectors["action"] for e in given]).astype(np.float64)
    for name, wanted in (
        ("q01", np.quantile(frames, 0.01, axis=0)),
        ("q99", np.quantile(frames, 0.99, axis=0)),
        ("mean", frames.mean(0)),
        ("std", frames.std(0)),
        ("min", frames.min(0)),
        ("max", frames.max(0)),
    ):
        np.testing.assert_allclose(stats[name], wanted, atol=1e-5)
    assert int(stats["count"][0]) == 120


def test_large_data_sets_are_split_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lerobot.datasets.dataset_metadata.LeRobotDatasetMetadata.data_files_size_in_mb", 0)
    write(tmp_path / "set", [episode(6, seed=s) for s in range(3)])
    assert len(list((tmp_path / "set" / "data").rglob("*.parquet"))) == 3
    monkeypatch.undo()
    dataset = opened(tmp_path / "set")
    assert [int(dataset[i]["episode_index"]) for i in (0, 6, 17)] == [0, 1, 2]


def test_videos_instead_of_pictures(tmp_path: Path) -> None:
    flat = Episode(task="wave", vectors=episode(12).vectors, images={CAMERA: [png(128, (64, 96))] * 12})
    write(tmp_path / "set", [flat, flat], video=True)
    dataset = opened(tmp_path / "set")
    assert len(list((tmp_path / "set" / "videos").rglob("*.mp4"))) == 1
    np.testing.assert_allclose(dataset[15][CAMERA].mean(), 128 / 255, atol=0.03)


@pytest.mark.parametrize("video", [False, True])
def test_a_failure_leaves_nothing(tmp_path: Path, video: bool) -> None:
    def broken() -> Iterator[Episode]:
        yield episode(5, size=(64, 96))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_dataset(tmp_path / "set", broken(), fps=10, robot_type="so100", names=NAMES, video=video)
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_inside_the_parquet_writer_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lerobot_writer, "_write_exact_statistics", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "set", [episode(5)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([], "no episodes to write"),
        ([episode(5), episode(5, images=False)], "an episode has keys"),
        ([Episode(task="x", vectors={**episode(5).vectors, "action": np.zeros((4, 3), np.float32)})], "lengths"),
        (
            [
                episode(5, images=False),
                Episode(task="x", vectors={**episode(5).vectors, "action": np.zeros((5, 2), np.float32)}),
            ],
            r"'action' has shape \(5, 2\), expected \(T, 3\)",
        ),
    ],
)
def test_bad_episodes(tmp_path: Path, episodes: list[Episode], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "set", episodes)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        write(tmp_path / "set", [episode(5)])
