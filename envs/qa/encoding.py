"""Pictures and videos as the bytes that parquet rows hold; the same frames give the same bytes.

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
import numpy as np
from PIL import Image

from vst_vla.vla.contracts import Array


def encode_png(image: Array) -> bytes:
    """A picture (H,W,3) uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def encode_video(frames: Sequence[Array], *, fps: int) -> bytes:
    """Frames (H,W,3) uint8 of even height and width as an H.264 MP4 file, nearly lossless (crf 12)."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "veryfast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # more threads would change the bytes
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()


class Encoder:
    """Encodes pictures for one scene's questions; a picture that several of them show is encoded once.

    It recognises a picture by the array itself, so it must not outlive the scene that it encodes for.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Array, bytes]] = {}

    def png(self, image: Array) -> bytes:
        """As `encode_png`."""
        if id(image) not in self._known:
            self._known[id(image)] = (image, encode_png(image))
        return self._known[id(image)][1]
