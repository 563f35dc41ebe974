"""Writes LeRobot v3 dataset folders (https://github.com/huggingface/lerobot), of any keys, from episodes in memory.

Letters: T frames of an episode, D width of a feature. `LeRobotDataset(repo_id, root=folder)` opens the result.

Pictures arrive as PNG files and go into the parquet as they are, which is several times faster than LeRobot's own
frame-by-frame recorder; metadata, statistics and layout are made by LeRobot's own code.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vst_vla.vla.contracts import Array

if TYPE_CHECKING:
    from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata

STATS_FRAMES = 16
"""Frames an episode that enter the statistics of pictures; those of vectors are exact, over all frames."""
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """One demonstration."""

    task: str
    vectors: Mapping[str, Array]  # key -> (T, D) float32
    images: Mapping[str, Sequence[bytes]] = field(default_factory=dict)  # key -> T PNG files of one size
    labels: Mapping[str, Array] = field(default_factory=dict)  # key -> (T, G, G, D) int16, of no use in statistics

    @property
    def num_frames(self) -> int:
        """T."""
        return len(next(iter(self.vectors.values())))


def write_dataset(
    folder: Path,
    episodes: Iterable[Episode],
    *,
    fps: int,
    robot_type: str,
    names: Mapping[str, Sequence[str]],
    video: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes all episodes to `folder`, which appears when it is complete.

    Args:
        folder: must not exist yet.
        episodes: at least one; read one at a time.
        fps: control frequency in Hz.
        robot_type: LeRobot's name of the robot, such as `panda`.
        names: for each vector key, what its D entries are.
        video: encode pictures as H.264/AV1 videos (smaller, lossy, slower) instead of PNG files inside the parquet.
        extra: file name -> content, written as JSON into `meta/`.

    Raises:
        ValueError: no episode, unequal lengths, keys that differ between episodes, or an existing folder.
        OSError: the disk is full; what was begun is removed.
    """
    if folder.exists():
        raise ValueError(f"'{folder}' exists already: choose another folder")
    fresh = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        vectors = _write_episodes(fresh, episodes, fps=fps, robot_type=robot_type, names=names, video=video)
        _write_exact_statistics(fresh, vectors)
        for name, content in (extra or {}).items():
            (fresh / "meta" / name).write_text(json.dumps(content, indent=1))
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_episodes(
    folder: Path,
    episodes: Iterable[Episode],
    *,
    fps: int,
    robot_type: str,
    names: Mapping[str, Sequence[str]],
    video: bool,
) -> dict[str, Array]:
    """Returns all frames of every vector, (sum of T, D)."""
    writer: _PictureWriter | _VideoWriter | None = None
    seen: dict[str, list[Array]] = {}
    try:
        for episode in episodes:
            if writer is None:
                features = _features(episode, names, video=video)
                writer = (_VideoWriter if video else _PictureWriter)(folder, features, fps=fps, robot_type=robot_type)
            _check(episode, features)
            writer.add(episode)
            for key, values in episode.vectors.items():
                seen.setdefault(key, []).append(values)
        if writer is None:
            raise ValueError("no episodes to write: give at least one")
        writer.close()
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    return {key: np.concatenate(values) for key, values in seen.items()}


def _features(episode: Episode, names: Mapping[str, Sequence[str]], *, video: bool) -> dict[str, dict[str, Any]]:
    features: dict[str, dict[str, Any]] = {}
    for key, files in episode.images.items():
        width, height = Image.open(io.BytesIO(files[0])).size
        axes = ["height", "width", "channels"]
        features[key] = {"dtype": "video" if video else "image", "shape": (height, width, 3), "names": axes}
    for key, values in episode.vectors.items():
        features[key] = {"dtype": "float32", "shape": values.shape[1:], "names": list(names[key])}
    for key, values in episode.labels.items():
        features[key] = {"dtype": "int16", "shape": values.shape[1:], "names": ["row", "column", "number"]}
    return features


def _check(episode: Episode, features: Mapping[str, Any]) -> None:
    columns = {**episode.vectors, **episode.images, **episode.labels}
    keys = set(columns)
    if keys != features.keys():
        raise ValueError(f"an episode has keys {sorted(keys)}, the first one had {sorted(features)}: write one layout")
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) != 1 or not episode.num_frames:
        raise ValueError(f"an episode's columns have lengths {lengths}: give one length above 0")
    for key, values in {**episode.vectors, **episode.labels}.items():
        if values.shape[1:] != features[key]["shape"]:
            expected = ", ".join(map(str, features[key]["shape"]))
            raise ValueError(f"'{key}' has shape {values.shape}, expected (T, {expected})")


class _PictureWriter:
    """Pictures inside the parquet files."""

    def __init__(self, folder: Path, features: dict[str, dict[str, Any]], *, fps: int, robot_type: str) -> None:
        from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
        from lerobot.datasets.feature_utils import get_hf_features_from_features

        self._meta: LeRobotDatasetMetadata = LeRobotDatasetMetadata.create(
            repo_id=folder.name, fps=fps, features=features, robot_type=robot_type, root=folder, use_videos=False
        )
        self._hf_features = get_hf_features_from_features(self._meta.features)
        self._file: Any = None
        self._path = folder
        self._place = {"data/chunk_index": 0, "data/file_index": 0}

    def add(self, episode: Episode) -> None:
        first, count = self._meta.total_frames, episode.num_frames
        self._meta.save_episode_tasks([episode.task])
        columns = {
            **episode.vectors,
            "timestamp": np.arange(count, dtype=np.float32) / self._meta.fps,
            "frame_index": np.arange(count),
            "episode_index": np.full(count, self._meta.total_episodes),
            "index": np.arange(first, first + count),
            "task_index": np.full(count, self._meta.get_task_index(episode.task)),
        }
        self._write({**columns, **episode.labels}, episode.images)
        rows = {**self._place, "dataset_from_index": first, "dataset_to_index": first + count}
        stats = _statistics(columns, episode.images)
        self._meta.save_episode(self._meta.total_episodes, count, [episode.task], stats, rows)

    def close(self) -> None:
        self._file.close()
        self._meta.finalize()

    def abandon(self) -> None:
        """Keeps LeRobot from writing its buffers into the removed folder when it is collected."""
        self._meta._finalized = True

    def _write(self, columns: Mapping[str, Array], images: Mapping[str, Sequence[bytes]]) -> None:
        import datasets
        import pyarrow.parquet as pq

        pictures = {key: [{"bytes": png, "path": None} for png in files] for key, files in images.items()}
        ordered = {**columns, **pictures}
        rows = datasets.Dataset.from_dict({k: ordered[k] for k in self._hf_features}, features=self._hf_features)
        table = rows.with_format("arrow")[:]
        self._turn_page()
        if self._file is None:
            self._path = self._meta.root / self._meta.data_path.format(
                chunk_index=self._place["data/chunk_index"], file_index=self._place["data/file_index"]
            )
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(self._path, schema=table.schema, compression="snappy", use_dictionary=True)
        self._file.write_table(table)

    def _turn_page(self) -> None:
        """Ends the present file when it has LeRobot's full size."""
        from lerobot.datasets.utils import update_chunk_file_indices

        if self._file is None or self._path.stat().st_size < self._meta.data_files_size_in_mb * 2**20:
            return
        self._file.close()
        self._file = None
        chunk, file = update_chunk_file_indices(*self._place.values(), self._meta.chunks_size)
        self._place = {"data/chunk_index": chunk, "data/file_index": file}


class _VideoWriter:
    """Pictures as video files: LeRobot's own recorder."""

    def __init__(self, folder: Path, features: dict[str, dict[str, Any]], *, fps: int, robot_type: str) -> None:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        self._dataset = LeRobotDataset.create(
            folder.name, fps, features, root=folder, robot_type=robot_type, use_videos=True, video_backend="pyav"
        )

    def add(self, episode: Episode) -> None:
        for t in range(episode.num_frames):
            numbers = {**episode.vectors, **episode.labels}
            frame: dict[str, Any] = {key: values[t] for key, values in numbers.items()}
            frame |= {key: _decode(files[t]) for key, files in episode.images.items()}
            self._dataset.add_frame({**frame, "task": episode.task})
        self._dataset.save_episode(parallel_encoding=False)

    def close(self) -> None:
        self._dataset.finalize()

    def abandon(self) -> None:
        """As for pictures."""
        self._dataset.meta._finalized = self._dataset.writer._finalized = True


def _statistics(columns: Mapping[str, Array], images: Mapping[str, Sequence[bytes]]) -> dict[str, dict[str, Array]]:
    """One episode's statistics in LeRobot's form; those of pictures (3, 1, 1) in [0, 1], from a few frames."""
    from lerobot.datasets.compute_stats import get_feature_stats

    stats = {key: get_feature_stats(v, axis=0, keepdims=v.ndim == 1) for key, v in columns.items()}
    for key, files in images.items():
        chosen = np.linspace(0, len(files) - 1, min(STATS_FRAMES, len(files))).astype(int)
        frames = np.stack([_decode(files[t]) for t in chosen]).transpose(0, 3, 1, 2)
        entries = get_feature_stats(frames, axis=(0, 2, 3), keepdims=True)
        stats[key] = {k: v if k == "count" else np.squeeze(v / 255.0, axis=0) for k, v in entries.items()}
    return stats


def _write_exact_statistics(folder: Path, vectors: Mapping[str, Array]) -> None:
    """Replaces the vectors' merged statistics by exact ones: LeRobot averages quantiles over episodes."""
    path = folder / "meta" / "stats.json"
    stats = json.loads(path.read_text())
    for key, values in vectors.items():
        exact = {name: np.quantile(values, q, axis=0) for name, q in QUANTILES.items()}
        exact |= {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
        stats[key] = {**stats[key], **{name: np.float64(v).tolist() for name, v in exact.items()}}
    path.write_text(json.dumps(dict(sorted(stats.items())), indent=4))  # LeRobot's order differs from run to run


def _decode(png: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
