"""Questions out of VST's parquet records, as benchmarks ask them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vst_vla.vla.data.records import SpatialRecords, encode_png
from vst_vla.vla.data.stored import spoken
from vst_vla.vla.fov import BOX_TYPE, FovTarget, unify_record
from vst_vla.vla.prompt import record_messages, split_reply


class Question(NamedTuple):
    """One record of a single question."""

    id: str
    kind: str  # the record's type
    prompt: str  # with <image> where a picture belongs
    truth: str  # without reasoning
    pictures: tuple[bytes, ...]
    meta: dict[str, Any]  # what the record says about itself


def record_questions(folder: Path, *, fov: FovTarget) -> Iterator[Question]:
    """Every record of a single question; pictures with 3-D boxes are brought to the camera `fov`.

    Raises:
        ValueError: as `SpatialRecords`.
    """
    for record in SpatialRecords(folder, verify=False):
        if BOX_TYPE in record["type"]:
            record = unify_record(record, target=fov)
        turns = [text for role, text in spoken(record_messages(record), marker="<image>") if role != "system"]
        if len(turns) == 2:
            meta = record["meta_info"][0] if record["meta_info"] else {}
            pictures = tuple(encode_png(image) for image in record["images"])
            truth = split_reply(turns[1]).answer
            yield Question(record["id"], record["type"], turns[0], truth, pictures, meta)
