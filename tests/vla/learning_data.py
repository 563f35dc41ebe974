"""Small real data for the learner's tests: a LeRobot dataset and a parquet file of questions, both written here."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, geometry_key
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset
from vst_vla.vla.data.records import write_records
from vst_vla.vla.train.recipe import Recipe

CLASSES = ("background", "red", "green", "blue")
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


COLOURS = np.array([[60, 60, 60], [230, 40, 40], [40, 230, 40], [40, 40, 230]], dtype=np.uint8)


def write_labelled_data(
    folder: Path, *, classes: tuple[str, ...] = CLASSES, length: int = 8, task: str = "sort the squares"
) -> Path:
    """An episode of coloured squares on grey, with labels: a class for each colour, places that follow the cells."""
    rng = np.random.default_rng(2)
    views = {key: [_squares(rng, len(classes)) for _ in range(length)] for key in IMAGE_KEYS}
    images = {key: [png(COLOURS[view].repeat(2, 0).repeat(2, 1)) for view in frames] for key, frames in views.items()}
    labels = {geometry_key(key): np.stack([_labels(view) for view in frames]) for key, frames in views.items()}
    vectors = {
        STATE_KEY: rng.normal(size=(length, 8)).astype(np.float32),
        ACTION_KEY: rng.uniform(-1, 1, (length, 7)).astype(np.float32),
    }
    episode = Episode(task=task, vectors=vectors, images=images, labels=labels)
    extra = {"vst_vla.json": {"geometry": {"classes": classes}}}
    write_dataset(folder, [episode], fps=20, robot_type="panda", names=NAMES, extra=extra)
    return folder


def _squares(rng: np.random.Generator, num_classes: int) -> np.ndarray:
    """Class numbers (32,32)."""
    view = np.zeros((32, 32), np.int16)
    for number in range(1, num_classes):
        row, column = rng.integers(0, 22, 2)
        view[row : row + 10, column : column + 10] = number
    return view


def _labels(view: np.ndarray) -> np.ndarray:
    """(32,32,5): nearer where the class is higher, 2 cm a cell; nothing is drawn in the first row."""
    row, column = np.indices(view.shape)
    depth = np.where(row == 0, 0, 1000 - 100 * view)
    return np.stack([view, depth, 20 * column, 20 * row, 50 * view], axis=-1).astype(np.int16)


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


def write_labelled_questions(folder: Path, *, count: int = 6) -> Path:
    """The same beside as many pictures in two colours, left and right, labelled by cells of 4 to a side.

    Every second one numbers its classes the other way round; the second shows its picture twice.
    """
    write_questions(folder, count=count)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        pair = (("red", "green"), ("blue", "red"), ("green", "blue"))[number % 3]
        picture = np.zeros((56, 56, 3), np.uint8)
        for half, name in enumerate(pair):
            picture[:, 28 * half : 28 * half + 28, ("red", "green", "blue").index(name)] = 200
        names = ["background", *(pair if number % 2 else pair[::-1])]
        labels = np.zeros((4, 4, 5), np.int64)
        labels[..., 0] = [names.index(pair[column // 2]) for column in range(4)]
        labels[..., 1:] = np.stack([np.full((4, 4), 500 + 100 * number), *np.indices((4, 4)) * 50, labels[..., 1]], -1)
        turns = [
            {"from": "human", "value": f"<image>\nWhat is beside the {pair[0]}?"},
            {"from": "gpt", "value": " ".join(pair)},
        ]
        images = [{"bytes": png(picture), "path": f"{number}.png"}]
        pose = [0, 0, 1, number, -1, 0, 0, 2, 0, -1, 0, 3]  # the robot sees the camera's axes turned, and moved
        cells = {"side": 4, "names": names, "numbers": labels.ravel().tolist(), "pose": pose}
        shown = 1 + (number == 1)
        turns[0]["value"] = "<image>" * shown + turns[0]["value"].removeprefix("<image>")
        row = {"conversations": turns, "id": f"labelled-{number}", "data_source": "test", "images": images * shown}
        meta = [{"width": 56, "height": 56, "cells": cells}] * shown
        rows.append(row | {"type": "mm_qa", "meta_info": json.dumps(meta)})
    write_records(folder / "part-00001.parquet", records=rows)
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
