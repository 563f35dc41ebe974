"""Writes a file as VST's released ones are laid out, with plain pyarrow and nothing of ours."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

TURN = pa.struct([pa.field("from", pa.string()), pa.field("value", pa.string())])
FILE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
TYPES = {
    "conversations": pa.list_(TURN),
    "id": pa.string(),
    "data_source": pa.string(),
    "images": pa.list_(FILE),
    "type": pa.string(),
    "meta_info": pa.string(),
}
BOX_ANSWER = (
    '```json\n[\n\t{"bbox_3d": [0.10, 0.05, 1.20, 0.30, 0.20, 0.25, 0.10, -0.50, 0.00], "label": "chair"},\n'
    '\t{"bbox_3d": [-0.20, 0.10, 2.00, 0.40, 0.60, 0.40, 0.00, 0.25, 1.00], "label": "desk"}\n]\n```'
)
CAMERA = (
    "The camera: width=64, height=48, f_x=58.25, f_y=58.25, c_x=32.0, c_y=24.0. X to the right, Y down, Z forward. "
    "We take the camera coordinate system as the world coordinate system.\n"
)


def jpeg(seed: int) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((64, 48)).save(buffer, format="JPEG")
    return buffer.getvalue()


def mp4(frames: int) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            shade = np.full((48, 64, 3), 30 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def row(name: str, kind: str, question: str, answer: str, files: list[bytes], **changes: Any) -> dict[str, Any]:
    sizes = [{"width": 64, "height": 48, "resized_width": -1, "resized_height": -1} for _ in files]
    ending = "mp4" if kind == "video" else "jpg"
    base = {
        "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}],
        "id": name,
        "data_source": "scannet",
        "images": [{"bytes": content, "path": f"{name}_{n}.{ending}"} for n, content in enumerate(files)],
        "type": kind,
        "meta_info": json.dumps(sizes),
    }
    return base | changes


def rows() -> list[dict[str, Any]]:
    """One row of every type that upstream's files have."""
    marker = "<|vision_start|><|image_pad|><|vision_end|>"
    return [
        row("depth", "mm_qa", "<image>\nWhich is nearer, the bed or the door?", "bed", [jpeg(0)]),
        row("pair", "mm_qa", f"{marker} then {marker}. Which way did the camera turn?", "left", [jpeg(1), jpeg(2)]),
        row("cot", "thought_mm_qa", "<image>\nHow many?\nA. 1\nB. 2", "<think>Two show.</think>B", [jpeg(3)]),
        row("boxes", "bbox_3d", f"<image>\n{CAMERA}Detect the chair and the desk.", BOX_ANSWER, [jpeg(4)]),
        row("film", "video", "<video>\nThese are frames of a video. How far apart?", "3.5", [mp4(5)]),
        row("words", "text", "What is two and two?", "4", []),
        row("unmarked", "mm_qa", "How tall is the marked object?", "71 cm", [jpeg(5)]),
    ]


def write(path: Path, records: list[dict[str, Any]], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array([record[name] for record in records], type=kind) for name, kind in TYPES.items()}
    pq.write_table(pa.table(columns), path, **options)
    return path
