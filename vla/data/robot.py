"""LeRobot v3 datasets as training samples: one observation, the chunk of actions that follows, and the instruction.

Reads the dataset's own parquet files and statistics; pictures stay PNG bytes until a sample asks for them, and are then
kept decoded while they fit into `cache_gib`. Sample keys, types and shapes: the table in `vla/contracts.py`.
Letters: C chunk, H/W pixels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from vst_vla.vla.contracts import (
    ACTION_IS_PAD_KEY,
    ACTION_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    STATE_KEY,
    TASK_KEY,
    ActionSpec,
    Array,
    StateSpec,
)
from vst_vla.vla.normalize import NormStats

FORMAT = "v3.0"


class RobotDataset:
    """Samples of one LeRobot v3 dataset folder with image storage.

    Args:
        folder: the dataset's root (it holds `meta/` and `data/`).
        chunk: C, number of actions a sample carries.
        image_keys: cameras to read, in the model's order.
        fps: control rate that the policy will run at; the dataset's must be the same.
        cache_gib: memory that decoded pictures may take.

    Raises:
        ValueError: for another layout, missing keys, another action or state width, frame rate, or missing quantiles.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        chunk: int,
        image_keys: Sequence[str] = IMAGE_KEYS,
        action_spec: ActionSpec = LIBERO_ACTION,
        state_spec: StateSpec = LIBERO_STATE,
        fps: int = 20,
        cache_gib: float = 1.5,
    ) -> None:
        self.folder, self.chunk, self.image_keys = Path(folder), chunk, tuple(image_keys)
        self.info = _read_info(self.folder)
        _check_features(self.info, self.image_keys, action=action_spec.dim, state=state_spec.dim, folder=self.folder)
        if self.info["fps"] != fps:
            raise ValueError(f"{self.folder}: recorded at {self.info['fps']} frames a second, expected {fps}")
        _check_conventions(self.folder, action_spec, state_spec)
        self.norm_stats = NormStats.from_lerobot(
            _read_json(self.folder, "meta/stats.json"), keys=(STATE_KEY, ACTION_KEY)
        )
        table = _read_frames(
            self.folder, columns=[*self.image_keys, STATE_KEY, ACTION_KEY, "episode_index", "task_index"]
        )
        self._states = _matrix(table, STATE_KEY)
        self._actions = _matrix(table, ACTION_KEY)
        self._pictures = {key: table[key].combine_chunks() for key in self.image_keys}
        self._ends = _episode_ends(table["episode_index"].to_numpy())
        self._task_of = table["task_index"].to_numpy()
        self.tasks = _read_tasks(self.folder)
        self._cache: dict[tuple[str, int], Array] = {}
        self._cache_left = int(cache_gib * 2**30)
        for name, values in ((STATE_KEY, self._states), (ACTION_KEY, self._actions)):
            if not np.isfinite(values).all():
                row = int(np.argwhere(~np.isfinite(values))[0][0])
                raise ValueError(
                    f"{self.folder}: {name} of frame {row} holds a NaN or infinity, expected finite numbers"
                )

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The sample that starts at frame `index`: pictures (H,W,3), state (S,), action (C,A), padding (C,), task."""
        steps = index + np.arange(self.chunk)
        end = self._ends[index]
        sample: dict[str, Any] = {key: self._picture(key, index) for key in self.image_keys}
        sample[STATE_KEY] = self._states[index]
        sample[ACTION_KEY] = self._actions[np.minimum(steps, end - 1)]
        sample[ACTION_IS_PAD_KEY] = steps >= end
        sample[TASK_KEY] = self.tasks[int(self._task_of[index])]
        return sample

    @property
    def num_episodes(self) -> int:
        """Episodes in the dataset."""
        return len(np.unique(self._ends))

    def _picture(self, key: str, index: int) -> Array:
        cached = self._cache.get((key, index))
        if cached is not None:
            return cached
        picture = np.asarray(Image.open(io.BytesIO(self._pictures[key][index]["bytes"].as_py())).convert("RGB"))
        if picture.nbytes <= self._cache_left:
            self._cache[key, index] = picture
            self._cache_left -= picture.nbytes
        return picture


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{folder} is no LeRobot {FORMAT} dataset: {name} is missing; make one with `vst-vla demos`")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _read_info(folder: Path) -> dict[str, Any]:
    info = _read_json(folder, "meta/info.json")
    version = info.get("codebase_version")
    if version != FORMAT:
        raise ValueError(f"{folder}: LeRobot format {version}, expected {FORMAT}: convert it with LeRobot's own script")
    return info


def _check_features(info: dict[str, Any], image_keys: Sequence[str], *, action: int, state: int, folder: Path) -> None:
    features = info["features"]
    for key in (*image_keys, STATE_KEY, ACTION_KEY):
        if key not in features:
            raise ValueError(f"{folder}: no '{key}', found {', '.join(sorted(features))}: rename the columns to match")
    for key, width in ((ACTION_KEY, action), (STATE_KEY, state)):
        found = features[key]["shape"][-1]
        if found != width:
            raise ValueError(
                f"{folder}: {key} has {found} numbers, expected {width}: record with the spec in contracts.py"
            )
    for key in image_keys:
        if features[key]["dtype"] != "image":
            raise ValueError(f"{folder}: {key} is stored as {features[key]['dtype']}, expected image (PNG in parquet)")


def _check_conventions(folder: Path, action_spec: ActionSpec, state_spec: StateSpec) -> None:
    """Datasets made here say what their numbers mean; others are taken to follow LIBERO's conventions."""
    path = folder / "meta" / "vst_vla.json"
    if not path.is_file():
        return
    said = json.loads(path.read_text())
    for name, spec in (("action_spec", action_spec), ("state_spec", state_spec)):
        theirs = said.get(name, {})
        for key, value in spec.to_dict().items():
            found = tuple(theirs[key]) if isinstance(theirs.get(key), list) else theirs.get(key)
            if key in theirs and found != value:
                raise ValueError(f"{folder}: {name} {key} is {found!r}, expected {value!r}: data and policy must agree")


def _read_frames(folder: Path, *, columns: list[str]) -> pa.Table:
    files = sorted(folder.glob("data/chunk-*/file-*.parquet"))
    if not files:
        raise ValueError(
            f"{folder} holds no data/chunk-*/file-*.parquet: the dataset is empty or damaged, make it again"
        )
    table = pa.concat_tables([pq.read_table(file, columns=[*columns, "index"]) for file in files])
    return table.take(pc.sort_indices(table["index"]))


def _matrix(table: pa.Table, key: str) -> Array:
    column = table[key].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values.reshape(len(column), -1), dtype=np.float32)


def _episode_ends(episodes: Array) -> Array:
    """For every frame, the index one past its episode's last frame."""
    last = np.flatnonzero(np.append(np.diff(episodes) != 0, True)) + 1
    return last[np.searchsorted(last, np.arange(len(episodes)), side="right")]


def _read_tasks(folder: Path) -> dict[int, str]:
    table = pq.read_table(folder / "meta" / "tasks.parquet")
    names = table["task"] if "task" in table.column_names else table["__index_level_0__"]
    return dict(zip(table["task_index"].to_pylist(), names.to_pylist(), strict=True))
