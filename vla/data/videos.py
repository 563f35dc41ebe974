"""Videos inside records, read as pictures: evenly spaced frames, first and last included.

Letters in shapes: H/W pixels, T frames.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np

from vst_vla.vla.contracts import Array

MAX_FRAMES = 16
"""Frames that a longer video is thinned out to."""

_MARKER = re.compile(r"(?:<\|vision_start\|>)?<\|video_pad\|>(?:<\|vision_end\|>)?\n?|<video>\n?")


def read_frames(data: bytes, *, max_frames: int = MAX_FRAMES) -> list[Array]:
    """At most `max_frames` pictures (H,W,3) uint8 of an encoded video.

    Raises:
        ValueError: it cannot be decoded, or holds no picture.
    """
    with _opened(data) as container:
        count = sum(1 for _ in container.decode(video=0))
    if not count:
        raise ValueError("a video without a picture")
    chosen = set(np.linspace(0, count - 1, min(count, max_frames)).round().astype(int).tolist())
    with _opened(data) as container:  # decoded twice, so that only the chosen frames of a long film are in memory
        frames = enumerate(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for place, frame in frames if place in chosen]


def frame_sizes(data: bytes, *, max_frames: int = MAX_FRAMES) -> list[tuple[int, int]]:
    """(H, W) of each picture that `read_frames` gives, without decoding one. Raises ValueError as `read_frames`."""
    with _opened(data) as container:
        count = sum(1 for packet in container.demux(video=0) if packet.size)
        size = container.streams.video[0].height, container.streams.video[0].width
    if not count:
        raise ValueError("a video without a picture")
    return [size] * min(count, max_frames)


@contextmanager
def _opened(data: bytes) -> Iterator[av.container.InputContainer]:
    try:
        with av.open(io.BytesIO(data), "r") as container:
            yield container
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"a video that cannot be decoded ({type(error).__name__})") from error


def mark_frames(turns: list[dict[str, Any]], *, num_frames: list[int]) -> list[dict[str, Any]]:
    """The turns with every video marker replaced by one `<image>` a frame; without markers, all come first.

    Args:
        turns: {from, value}.
        num_frames: T of each video, in order.

    Raises:
        ValueError: another number of markers than videos.
    """
    markers = sum(len(_MARKER.findall(turn["value"])) for turn in turns)
    if markers not in (0, len(num_frames)):
        raise ValueError(f"{markers} video markers in its text but {len(num_frames)} videos")
    if not markers and any("<image>" in turn["value"] for turn in turns):
        return turns  # frames stored as pictures, each marked already
    if not markers:
        first = "<image>\n" * sum(num_frames) + turns[0]["value"]
        return [{**turns[0], "value": first}, *turns[1:]]
    counts = iter(num_frames)
    return [{**turn, "value": _MARKER.sub(lambda _: "<image>\n" * next(counts), turn["value"])} for turn in turns]
