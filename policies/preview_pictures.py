"""An episode's pictures, from PNG files inside the parquet or from video files. Letters: T frames, H/W pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pyarrow.compute as pc
from PIL import Image

from vst_vla.policies.preview_data import DatasetNumbers, EpisodeSpan, read_table
from vst_vla.vla.contracts import Array


def read_pictures(numbers: DatasetNumbers, episode: EpisodeSpan, *, camera: str, side: int) -> Array:
    """One camera's pictures of an episode, (T, H, W, 3) uint8, made smaller so that no side is above `side`.

    Raises:
        ValueError: a picture or a video is missing, damaged or too short.
    """
    stored = numbers.info["features"][camera]["dtype"]
    source = _from_parquet(episode, camera) if stored == "image" else _from_video(numbers, episode, camera)
    return np.stack([_shrink(picture, side) for picture in source])


def _shrink(picture: Image.Image, side: int) -> Array:
    scale = side / max(picture.size)
    if scale < 1:
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BOX)
    return np.asarray(picture)


def _from_parquet(episode: EpisodeSpan, camera: str) -> Iterator[Image.Image]:
    rows = read_table(episode.file, columns=[camera, "index"], filters=[("episode_index", "=", episode.index)])
    for number, cell in enumerate(rows.take(pc.sort_indices(rows["index"]))[camera].to_pylist()):
        try:
            yield Image.open(io.BytesIO(cell["bytes"])).convert("RGB")
        except (OSError, SyntaxError, TypeError) as error:
            raise ValueError(
                f"'{episode.file}': {camera} of frame {number} of episode {episode.index} is no picture ({error}): "
                "copy or make the dataset again"
            ) from error


def _from_video(numbers: DatasetNumbers, episode: EpisodeSpan, camera: str) -> Iterator[Image.Image]:
    path, start = _video_place(numbers, episode, camera)
    found = 0
    try:
        for picture in _decode(path, start_s=start - 0.5 / numbers.fps):
            yield picture
            found += 1
            if found == episode.num_frames:
                return
    except (OSError, av.error.FFmpegError) as error:
        raise ValueError(f"cannot read '{path}' ({error}): copy or make the dataset again") from error
    raise ValueError(
        f"'{path}' ends after {found} of the {episode.num_frames} frames of episode {episode.index}: "
        "copy or make the dataset again"
    )


def _video_place(numbers: DatasetNumbers, episode: EpisodeSpan, camera: str) -> tuple[Path, float]:
    """The file that holds the episode's frames and the second at which they begin."""
    where = {name: episode.place.get(f"videos/{camera}/{name}") for name in ("chunk_index", "file_index")}
    start = episode.place.get(f"videos/{camera}/from_timestamp")
    if start is None or None in where.values():
        raise ValueError(
            f"'{numbers.folder}': meta/episodes does not say where {camera} of episode {episode.index} is: "
            "copy or make the dataset again"
        )
    return numbers.folder / numbers.info["video_path"].format(video_key=camera, **where), float(start)


def _decode(path: Path, *, start_s: float) -> Iterator[Image.Image]:
    """The video's frames that are shown at `start_s` seconds or later."""
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise OSError("it holds no video")
        stream = container.streams.video[0]
        assert stream.time_base is not None
        container.seek(max(int(start_s / stream.time_base), 0), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None and float(frame.pts * stream.time_base) >= start_s:
                yield frame.to_image()
