"""Small real data for the learner's tests: a LeRobot dataset and a parquet file of questions, both written here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset
from vst_vla.vla.data.records import write_records
from vst_vla.vla.train.recipe import Recipe

NAMES = {STATE_KEY: list(LIBERO_STATE.names), ACTION_KEY: list(LIBERO_ACTION.names)}


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def write_robot_data(
    folder: Path, *, lengths: tuple[int, ...] = (12, 9), action_dim: int = 7, fps: int = 20, video: bool = False
) -> Path:
    """Episodes of noise pictures with smooth actions."""
    rng = np.random.default_rng(0)
    episodes = []
    for number, length in enumerate(lengths):
        actions = np.sin(np.arange(length)[:, None] / 3 + np.arange(action_dim) + number).astype(np.float32)
        vectors = {STATE_KEY: rng.normal(size=(length, 8)).astype(np.float32), ACTION_KEY: actions}
        pictures = {
            key: [png(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(length)] for key in IMAGE_KEYS
        }
        episodes.append(Episode(task=f"do task {number}", vectors=vectors, images=pictures))
    names = NAMES | {ACTION_KEY: [f"a{i}" for i in range(action_dim)]}
    write_dataset(folder, episodes, fps=fps, robot_type="panda", names=names, video=video)
    return folder


def write_questions(folder: Path, *, count: int = 6) -> Path:
    """Questions whose answer is the picture's colour."""
    rng = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        colour = number % 3
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[..., colour] = rng.integers(150, 255)
        answer = ("red", "green", "blue")[colour]
        turns = [{"from": "human", "value": "<image>\nWhich colour is it?"}, {"from": "gpt", "value": answer}]
        images = [{"bytes": png(picture), "path": f"{number}.png"}]
        row = {"conversations": turns, "id": str(number), "data_source": "test", "images": images, "type": "mm_qa"}
        rows.append(row | {"meta_info": "[]"})
    write_records(folder / "part-00000.parquet", records=rows)
    return folder


def small_recipe(**changes: Any) -> Recipe:
    """Four steps at 56 pixels."""
    values: dict[str, Any] = {
        "name": "test",
        "steps": 4,
        "batch_size": 4,
        "optimizer": "muon",
        "learning_rate": 1e-3,
        "image_size": 56,
        "max_pixels": 56 * 56,
        "save_every": 2,
        "log_every": 1,
        "num_workers": 0,
    }
    return Recipe(**(values | changes))
