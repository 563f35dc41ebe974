"""A dataset to look at: one HTML file with pictures, films, histograms and warnings, opened from disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vst_vla.policies.preview_checks import frozen_frames, run_checks
from vst_vla.policies.preview_data import DatasetNumbers, EpisodeSpan, read_numbers
from vst_vla.policies.preview_figures import contact_sheet, film
from vst_vla.policies.preview_page import Sample, render_preview
from vst_vla.policies.preview_pictures import read_pictures
from vst_vla.vla.contracts import STATE_KEY
from vst_vla.vla.files import write_text

PICTURE_LIMIT = 20 * 2**20
"""Characters of the page that pictures and films may take, shared out equally among the tasks."""
PICTURED_TASKS = 100
EPISODES = 3  # sampled of each task
PICTURE_SIDE = 144  # pixels, at most
BASE64 = 4 / 3  # characters a byte


def write_preview(folder: str | Path, *, out: str | Path | None = None) -> Path:
    """Writes the page about a LeRobot dataset and returns its path.

    All numbers are read; pictures are those of a few episodes a task, evenly chosen, and the page says which.

    Args:
        folder: the dataset's root, which holds `meta/` and `data/`; nothing is written into it.
        out: the page; by default `FOLDER-preview.html` beside the folder.

    Raises:
        ValueError: the folder is no dataset or an empty one, a file or a picture is damaged, or `out` is no file name.
    """
    numbers = read_numbers(folder)
    root = numbers.layout.folder.resolve()
    path = Path(out).expanduser() if out else root.with_name(f"{root.name}-preview.html")
    if path.is_dir():
        raise ValueError(f"out='{path}' is a folder, expected a file: give out={path / 'preview.html'}")
    samples = _sample(numbers) if numbers.cameras else []
    checks = run_checks(numbers, frozen={sample.episode.index: sample.frozen for sample in samples})
    write_text(path, render_preview(numbers, samples, checks=checks))
    return path


def _sample(numbers: DatasetNumbers) -> list[Sample]:
    tasks = _evenly(list(numbers.tasks.values()), PICTURED_TASKS)
    chosen = [_evenly(episodes, EPISODES) for episodes in tasks]
    with tqdm(total=sum(map(len, chosen)), unit="episode", desc="preview") as bar:
        return [
            sample
            for episodes in chosen
            for sample in _within(_take(numbers, episodes, bar), limit=PICTURE_LIMIT / len(tasks))
        ]


def _evenly[T](items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, from the first to the last."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))]


def _take(numbers: DatasetNumbers, episodes: Sequence[EpisodeSpan], bar: tqdm) -> Iterable[Sample]:
    for episode in episodes:
        pictures = {c: read_pictures(numbers, episode, camera=c, side=PICTURE_SIDE) for c in numbers.cameras}
        states = numbers.vectors[STATE_KEY][episode.start : episode.stop]
        yield Sample(
            episode=episode,
            sheet=contact_sheet(list(pictures.values())),
            film=film(list(pictures.values()), fps=numbers.fps),
            frozen={camera: frozen_frames(shown, states) for camera, shown in pictures.items()},
        )
        bar.update()


def _within(samples: Iterable[Sample], *, limit: float) -> Iterable[Sample]:
    """The samples without those sheets and films that do not fit into the task's share of the page."""
    left = limit / BASE64
    for sample in samples:
        sheet = sample.sheet if len(sample.sheet) <= left else b""
        left -= len(sheet)
        movie = sample.film if len(sample.film) <= left else b""
        left -= len(movie)
        yield replace(sample, sheet=sheet, film=movie)
