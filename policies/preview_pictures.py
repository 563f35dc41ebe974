"""An episode's pictures, small, in the order of time. Letters: T frames, H/W pixels."""

from __future__ import annotations

from itertools import chain

import numpy as np
from PIL import Image

from vst_vla.policies.preview_data import DatasetNumbers, EpisodeSpan
from vst_vla.vla.contracts import Array
from vst_vla.vla.data.columns import picture_shape
from vst_vla.vla.data.pictures import ParquetPictures, PictureSource, VideoPictures


def read_pictures(numbers: DatasetNumbers, episode: EpisodeSpan, *, camera: str, side: int) -> Array:
    """One camera's pictures of an episode, (T, H, W, 3) uint8, made smaller so that no side is above `side`.

    Raises:
        ValueError: a picture or a video is missing, damaged, too short, or of another size than the dataset says.
    """
    source = _source(numbers, episode, camera)
    decoded = chain.from_iterable(source.decode(block) for block in source.blocks())
    found = {position: _shrink(picture, side) for position, picture in decoded}
    return np.stack([found[position] for position in range(len(source))])


def _source(numbers: DatasetNumbers, episode: EpisodeSpan, camera: str) -> PictureSource:
    shape, only = picture_shape(numbers.layout, camera), np.zeros(episode.num_frames, dtype=np.int64)
    clip = episode.entry.clips.get(camera)
    if clip is None:
        return ParquetPictures([episode.entry.data], column=camera, file=only, row=episode.rows, shape=shape)
    time = clip.start + episode.time
    return VideoPictures([clip.path], column=camera, file=only, time=time, shape=shape, fps=numbers.fps)


def _shrink(picture: Array, side: int) -> Array:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
