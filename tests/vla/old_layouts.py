"""LIBERO's published datasets in small: the folders of LeRobot v2.0 and v2.1, which LeRobot itself no longer writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
SIDE = 64


def actions(length: int, number: int) -> np.ndarray:
    """Smooth motion; the gripper closes half-way, in LIBERO's convention."""
    values = np.sin(np.arange(length)[:, None] / 3 + np.arange(7) + number).astype(np.float32)
    values[:, 6] = np.where(np.arange(length) < length // 2, -1, 1)
    return values


def states(length: int, number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(length, 8)).astype(np.float32)


def grey(number: int, t: int, *, wrist: bool) -> np.ndarray:
    """A flat picture that says which frame it is."""
    return np.full((SIDE, SIDE, 3), 20 + 60 * number + 4 * t + 2 * wrist, np.uint8)


def write_pi_layout(folder: Path, *, png: Any, lengths: tuple[int, ...] = (12, 9)) -> Path:
    """As physical-intelligence/libero: v2.0, pictures in parquet, labelled 10 Hz, statistics without quantiles."""
    features = {name: {"dtype": "image", "shape": [SIDE, SIDE, 3]} for name in ("image", "wrist_image")}
    features |= {"state": {"dtype": "float32", "shape": [8]}, "actions": {"dtype": "float32", "shape": [7]}}
    for number, length in enumerate(lengths):
        pictures = {
            name: [
                {"bytes": png(grey(number, t, wrist=name == "wrist_image")), "path": f"{t}.png"} for t in range(length)
            ]
            for name in ("image", "wrist_image")
        }
        vectors = {"state": states(length, number), "actions": actions(length, number)}
        _write_episode(folder, number, vectors=vectors, pictures=pictures, fps=10)
    _write_meta(folder, "v2.0", features, lengths, fps=10)
    stats = {"state": {"mean": [0.0] * 8, "std": [1.0] * 8, "min": [-1.0] * 8, "max": [1.0] * 8}}
    (folder / "meta" / "stats.json").write_text(json.dumps(stats))
    return folder


def write_no_noops_layout(folder: Path, *, lengths: tuple[int, ...] = (12, 9)) -> Path:
    """As the libero_*_no_noops sets: v2.1, a video an episode, gripper 1 open and 0 closed, statistics by episode."""
    cameras = ("observation.images.image", "observation.images.wrist_image")
    features = {name: {"dtype": "video", "shape": [SIDE, SIDE, 3]} for name in cameras}
    features |= {"observation.state": {"dtype": "float32", "shape": [8]}, "action": {"dtype": "float32", "shape": [7]}}
    lines = []
    for number, length in enumerate(lengths):
        theirs = actions(length, number)
        theirs[:, 6] = 1 - theirs[:, 6].clip(0, 1)
        vectors = {"observation.state": states(length, number), "action": theirs}
        _write_episode(folder, number, vectors=vectors, pictures={}, fps=20)
        for name in cameras:
            path = folder / VIDEO.format(episode_chunk=0, video_key=name, episode_index=number)
            _write_video(path, [grey(number, t, wrist="wrist" in name) for t in range(length)], fps=20)
        lines.append({"episode_index": number, "stats": {"action": {"min": [0.0] * 7, "max": [1.0] * 7}}})
    _write_meta(folder, "v2.1", features, lengths, fps=20)
    _write_lines(folder / "meta" / "episodes_stats.jsonl", lines)
    return folder


def _write_episode(folder: Path, number: int, *, vectors: dict, pictures: dict, fps: int) -> None:
    length = len(next(iter(vectors.values())))
    columns: dict[str, Any] = {name: pa.array(list(values)) for name, values in vectors.items()}
    columns |= {name: pa.array(rows) for name, rows in pictures.items()}
    columns |= {"timestamp": np.arange(length, dtype=np.float32) / fps, "frame_index": np.arange(length)}
    columns |= {"episode_index": np.full(length, number), "task_index": np.full(length, number % 2)}
    path = folder / DATA.format(episode_chunk=0, episode_index=number)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def _write_meta(folder: Path, version: str, features: dict, lengths: tuple[int, ...], *, fps: int) -> None:
    info = {"codebase_version": version, "fps": fps, "features": features, "chunks_size": 1000}
    info |= {"total_episodes": len(lengths), "total_frames": sum(lengths), "data_path": DATA, "video_path": VIDEO}
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    _write_lines(folder / "meta" / "tasks.jsonl", [{"task_index": i, "task": f"do task {i}"} for i in range(2)])
    episodes = [{"episode_index": i, "tasks": [f"do task {i % 2}"], "length": n} for i, n in enumerate(lengths)]
    _write_lines(folder / "meta" / "episodes.jsonl", episodes)


def _write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_video(path: Path, pictures: list[np.ndarray], *, fps: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv444p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
