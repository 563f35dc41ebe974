"""LeRobot datasets as training samples: one observation, the chunk of actions that follows, and the instruction.

Reads formats v3.0, v2.1 and v2.0 with pictures in parquet or in videos, from folders or from the hub, one dataset or
several. Sample keys, types and shapes: the table in `vla/contracts.py`.
Letters: n frames, C chunk, H/W pixels, S state, A action.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
    geometry_key,
    keys_over_time,
    picture_keys,
)
from vst_vla.vla.data import columns
from vst_vla.vla.data.cells import join_classes, read_cells, read_classes
from vst_vla.vla.data.frame_cache import Pictures, open_pictures
from vst_vla.vla.data.frames import Frames, read_frames
from vst_vla.vla.data.layouts import Entry, Layout, read_layout
from vst_vla.vla.data.pictures import ParquetPictures, PictureSource, VideoPictures, nbytes_each
from vst_vla.vla.hub import dataset_folder
from vst_vla.vla.normalize import NormStats

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """How datasets are read.

    Attributes:
        episodes: indices to use; None for all. Of one dataset only.
        skip: indices to leave out, such as an episode whose video is damaged. Of one dataset only.
        cameras: the policy's cameras in its order: our key (`image` is short for `observation.images.image`) -> the
            dataset's name. None reads the agent and the wrist view under the names of the published datasets.
        recorded_fps: the rate at which the data were recorded, where the dataset's own label is wrong.
        gripper: what gripper commands mean, one of `columns.GRIPPERS`, where it cannot be told from the data.
        cache_gib: disk that decoded pictures of all datasets may take in the user's cache; 0 keeps none.
    """

    episodes: tuple[int, ...] | None = None
    skip: tuple[int, ...] = ()
    cameras: Mapping[str, str] | None = None
    recorded_fps: float | None = None
    gripper: str | None = None
    cache_gib: float = 16.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReaderOptions:
        """From a yaml's values."""
        lists = {key: tuple(values[key]) for key in ("episodes", "skip") if values[key] is not None}
        return cls(**(dict(values) | lists))

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Our keys of the cameras, in order."""
        return IMAGE_KEYS if self.cameras is None else tuple(map(columns.full_key, self.cameras))


DEFAULT_READER = ReaderOptions()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """One dataset, read."""

    frames: Frames
    states: Array  # (n, S)
    actions: Array  # (n, A)
    tasks: list[str]  # n instructions
    sources: dict[str, PictureSource]  # by our picture key; labels by theirs
    classes: tuple[str, ...]  # what the labels' class numbers mean; none without labels


class RobotDataset:
    """Samples of one or several LeRobot datasets, in the order given.

    Statistics are computed from the frames that are read, over all datasets together, so they fit any selection and
    mixture; those in the datasets' own metadata are not used.

    Args:
        sources: dataset folders or hub names, such as `HuggingFaceVLA/libero`.
        chunk: C, number of actions a sample carries.
        options: which episodes and cameras, and what the data do not say about themselves.
        action_spec, state_spec: what the policy's numbers mean; the datasets' must be the same.
        fps: control rate that the policy will run at, Hz; the datasets' must be the same.
        geometry: also read the labels of the pictures' cells (`contracts.CELL_NUMBERS`).
        history: frames before a sample's own of which it carries the pictures (and labels) too; the episode's first
            frame stands for those before it.

    Attributes:
        image_keys: the cameras, in the model's order.
        classes: what the labels' class numbers mean, over all datasets; none without labels.
        norm_stats: of states and actions.

    Raises:
        ValueError: a dataset that is missing, damaged, of an unknown format, or does not fit the policy.
    """

    def __init__(
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        chunk: int,
        options: ReaderOptions = DEFAULT_READER,
        action_spec: ActionSpec = LIBERO_ACTION,
        state_spec: StateSpec = LIBERO_STATE,
        fps: float = 20,
        geometry: bool = False,
        history: tuple[int, ...] = (),
    ) -> None:
        self.chunk, self.image_keys, self.history = chunk, options.image_keys, history
        given = [sources] if isinstance(sources, str | Path) else list(sources)
        if (options.episodes is not None or options.skip) and len(given) != 1:
            raise ValueError(f"data.reader.episodes and skip choose from one dataset, {len(given)} were given")
        layouts = [read_layout(dataset_folder(source)) for source in given]
        for layout in layouts:
            columns.check_rate(layout, fps=fps, stated=options.recorded_fps)
            columns.check_conventions(layout, action=action_spec, state=state_spec)
        widths = {"action": action_spec.dim, "state": state_spec.dim}
        parts = [_read_part(layout, options, **widths, geometry=geometry) for layout in layouts]
        if not parts:
            raise ValueError("no dataset was given: name at least one folder or hub dataset")
        self._states = np.concatenate([part.states for part in parts])
        self._actions = np.concatenate([part.actions for part in parts])
        self._tasks = [task for part in parts for task in part.tasks]
        self._ends = _episode_ends([part.frames.episode for part in parts])
        self._starts = np.cumsum([0, *(len(part.frames) for part in parts)]).tolist()
        self._pictures = _open_all(parts, limit=int(options.cache_gib * 2**30))
        self.classes, self._class_tables = join_classes([part.classes for part in parts])
        self.norm_stats = NormStats.from_data({STATE_KEY: self._states, ACTION_KEY: self._actions})

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The sample of frame `index`: pictures (H,W,3), labels (G,G,5), state (S,), actions (C,A), padding, task."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} is out of range: there are {len(self)}")
        part = bisect_right(self._starts, index) - 1
        steps = index + np.arange(self.chunk)
        end = self._ends[index]
        frames = [frame - self._starts[part] for frame in self._frames(index)]
        sample: dict[str, Any] = {}
        for key, shown in self._pictures[part].items():
            keys = keys_over_time(key, history=self.history)
            sample |= {seen: shown[frame] for seen, frame in zip(keys, frames, strict=True)}
        if self.classes:
            for key in map(geometry_key, picture_keys(self.image_keys, history=self.history)):
                sample[key][..., 0] = self._class_tables[part][sample[key][..., 0]]
        sample[STATE_KEY] = self._states[index].copy()
        sample[ACTION_KEY] = self._actions[np.minimum(steps, end - 1)]
        sample[ACTION_IS_PAD_KEY] = steps >= end
        sample[TASK_KEY] = self._tasks[index]
        return sample

    def _frames(self, index: int) -> list[int]:
        """The frames of a sample's pictures: its own and those of the history, none before its episode."""
        first = int(np.searchsorted(self._ends, self._ends[index]))
        return [max(index - steps, first) for steps in (0, *self.history)]

    def action_chunks(self) -> Array:
        """The chunks (n,C,A) that start at every frame; past its episode's end a chunk repeats the last action."""
        steps = np.arange(len(self))[:, None] + np.arange(self.chunk)
        chunks: Array = self._actions[np.minimum(steps, self._ends[:, None] - 1)]
        return chunks

    @property
    def num_episodes(self) -> int:
        """Episodes in all datasets together."""
        return len(np.unique(self._ends))

    @property
    def longest_episode(self) -> int:
        """Frames of the longest episode."""
        return int(np.unique(self._ends, return_counts=True)[1].max())


def _read_part(layout: Layout, options: ReaderOptions, *, action: int, state: int, geometry: bool) -> _Part:
    keys = (*options.image_keys, STATE_KEY, ACTION_KEY)
    names = columns.find_columns(layout, keys=keys, cameras=options.cameras)
    columns.check_widths(layout, names, action=action, state=state)
    entries = layout.select(options.episodes, skip=options.skip)
    frames = read_frames(entries, columns=[names[STATE_KEY], names[ACTION_KEY]])
    actions = frames.vectors[names[ACTION_KEY]]
    sources = {key: _picture_source(layout, entries, frames, column=names[key]) for key in options.image_keys}
    if geometry:
        sources |= {geometry_key(key): read_cells(layout, frames, camera=names[key]) for key in options.image_keys}
    return _Part(
        frames=frames,
        states=frames.vectors[names[STATE_KEY]],
        actions=columns.to_our_gripper(layout, actions, column=names[ACTION_KEY], stated=options.gripper),
        tasks=_instructions(layout, frames),
        sources=sources,
        classes=read_classes(layout) if geometry else (),
    )


def _instructions(layout: Layout, frames: Frames) -> list[str]:
    unknown = set(frames.task.tolist()) - layout.tasks.keys()
    if unknown:
        raise ValueError(f"{layout.folder}: no instruction for task {min(unknown)}: download the dataset again")
    return [layout.tasks[task] for task in frames.task.tolist()]


def _picture_source(layout: Layout, entries: Sequence[Entry], frames: Frames, *, column: str) -> PictureSource:
    shape = columns.picture_shape(layout, column)
    if layout.features[column]["dtype"] == "image":
        return ParquetPictures(frames.files, column=column, file=frames.file, row=frames.row, shape=shape)
    clips = {entry.index: entry.clips[column] for entry in entries}
    files = tuple(dict.fromkeys(clip.path for clip in clips.values()))
    numbers = {path: number for number, path in enumerate(files)}
    return VideoPictures(
        files,
        column=column,
        file=np.array([numbers[clips[episode].path] for episode in frames.episode.tolist()]),
        time=np.array([clips[episode].start for episode in frames.episode.tolist()]) + frames.time,
        shape=shape,
        fps=float(layout.info["fps"]),
    )


def _open_all(parts: Sequence[_Part], *, limit: int) -> list[dict[str, Pictures]]:
    """The pictures and labels of every dataset and camera, cached as far as `limit` bytes go."""
    need = sum(len(source) * nbytes_each(source) for part in parts for source in part.sources.values())
    if 0 < limit < need:
        log.warning(
            "decoded pictures take %.1f GiB, %.1f are allowed: the rest is decoded at every reading "
            "(data.reader.cache_gib=%d keeps all)",
            need / 2**30,
            limit / 2**30,
            -(-need // 2**30),
        )
    opened: list[dict[str, Pictures]] = []
    left = limit
    for part in parts:
        opened.append({})
        for key, source in part.sources.items():
            pictures = open_pictures(source, share=left, limit=limit)
            left -= pictures.nbytes
            opened[-1][key] = pictures
    return opened


def _episode_ends(episodes: Sequence[Array]) -> Array:
    """For every frame of all datasets, the index one past its episode's last frame."""
    last = np.concatenate([np.append(np.diff(numbers) != 0, True) for numbers in episodes])
    ends = np.flatnonzero(last) + 1
    return ends[np.searchsorted(ends, np.arange(len(last)), side="right")]
