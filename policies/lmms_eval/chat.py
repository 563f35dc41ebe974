"""A question out of lmms-eval's chat messages.

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vst_vla.vla.answering import Asked
from vst_vla.vla.contracts import Array
from vst_vla.vla.data.videos import read_frames

_MARKER = "<image>"


def to_question(messages: Sequence[Mapping[str, Any]], *, name: str, num_frames: int) -> Asked:
    """One question with its pictures (H,W,3), each where the messages have it; a video as evenly spaced frames.

    Args:
        messages: {role, content}, content a list of {type: text, text} and {type: image or video, url}; the text of a
            system message comes before the user's.
        name: the question's, for errors.
        num_frames: pictures that a video becomes, at most.

    Raises:
        ValueError: an assistant's turn, sound, or a picture or video in a form that cannot be read.
    """
    pieces: list[str] = []
    pictures: list[Array] = []
    for message in messages:
        if message["role"] == "assistant":
            raise ValueError(f"'{name}' holds an assistant's turn: give --num_fewshot 0, only questions can be asked")
        for part in message["content"]:
            if part["type"] == "text":
                pieces.append(part["text"].replace(_MARKER, ""))
            else:
                found = _pictures(part, name=name, num_frames=num_frames)
                pieces.append(_MARKER * len(found))
                pictures += found
        pieces.append("\n" if message["role"] == "system" else "")
    return Asked(id=name, prompt="".join(pieces), pictures=pictures)


def _pictures(part: Mapping[str, Any], *, name: str, num_frames: int) -> list[Array]:
    kind, source = part["type"], part["url"]
    if kind == "video" and isinstance(source, str | Path) and Path(source).is_file():
        return read_frames(Path(source).read_bytes(), max_frames=num_frames)
    if kind == "image" and isinstance(source, Image.Image):
        return [np.asarray(source.convert("RGB"))]
    if kind == "image" and isinstance(source, str | Path) and Path(source).is_file():
        return [np.asarray(Image.open(source).convert("RGB"))]
    shown = f"'{source}'" if isinstance(source, str | Path) else type(source).__name__
    raise ValueError(f"'{name}' has a part of type {kind} as {shown}, expected a picture, or an image or video file")
