"""A folder of spatial questions to look at: one HTML file, opened from disk."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from vst_vla.policies.qa_overlay import overlays
from vst_vla.policies.qa_preview_page import Picture, Sample, render_page
from vst_vla.policies.qa_survey import FamilySurvey, Survey, survey
from vst_vla.vla.contracts import Array
from vst_vla.vla.data.record_files import Skipped, list_files
from vst_vla.vla.data.stored import StoredRow, stored_rows
from vst_vla.vla.files import write_text
from vst_vla.vla.fov import FovTarget, unify_record
from vst_vla.vla.prompt import record_messages, render, split_reply

SIDE, FRAME_SIDE = 320, 128  # pixels at most: of a picture, of a video's frame
JPEG_QUALITY = 82
BASE64 = 4 / 3  # characters a byte


def write_qa_preview(
    folder: str | Path, *, out: str | Path | None = None, per_family: int = 12, mib: float = 22
) -> Path:
    """Writes the page about a folder of questions and returns its path.

    Every row's text is read; shown are a few questions a family, evenly chosen.

    Args:
        folder: of parquet files in VST's format, ours or others'; nothing is written into it.
        out: the page; by default `FOLDER-preview.html` beside the folder.
        per_family: questions shown of each family.
        mib: size that pictures and films may take on the page, shared out equally among the families.

    Raises:
        ValueError: no parquet file there, a file that is not parquet, no row, or `out` is no file name.
    """
    if per_family < 1:
        raise ValueError(f"preview_items {per_family} is too small: give at least 1")
    if not mib > 0:
        raise ValueError(f"preview_mib {mib} is too small: give a positive number")
    root = Path(folder)
    files = list_files(root)
    path = Path(out).expanduser() if out else root.resolve().with_name(f"{root.resolve().stem}-preview.html")
    if path.is_dir():
        raise ValueError(f"out='{path}' is a folder, expected a file: give out={path / 'preview.html'}")
    found = survey(files)
    if not found.count:
        raise ValueError(f"'{root}' holds no question that can be read")
    skipped: list[Skipped] = []
    samples = _samples(files, found, per_family, skipped, share=mib * 2**20 / BASE64 / len(found.families))
    write_text(path, render_page(root.resolve().name, found, samples, skipped=skipped, manifest=_manifest(root)))
    return path


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _samples(
    files: Sequence[Path], found: Survey, per_family: int, skipped: list[Skipped], *, share: float
) -> Mapping[str, list[Sample]]:
    """Family -> the questions shown of it, whose files take at most `share` bytes."""
    wanted: dict[int, dict[int, FamilySurvey]] = defaultdict(dict)
    for family in found.families:
        for file, number in family.evenly(per_family):
            wanted[file][number] = family
    left = {family.name: share for family in found.families}
    samples: dict[str, list[Sample]] = defaultdict(list)
    with tqdm(total=sum(map(len, wanted.values())), unit="question", desc="preview") as bar:
        for file, numbers in sorted(wanted.items()):
            for row in stored_rows(files[file], skipped=skipped, only=numbers):
                name = numbers[row.number].name
                sample, left[name] = _fitting(_sample(row), left[name])
                samples[name].append(sample)
                bar.update()
    return samples


def _sample(row: StoredRow) -> Sample:
    record = row.record
    reply = split_reply(record["conversations"][-1]["value"])
    side = FRAME_SIDE if row.is_video else SIDE
    shown = zip(record["images"], overlays(row), strict=True)
    return Sample(
        name=str(record["id"]),
        kind=record["type"],
        source=str(record["data_source"]),
        question=_question(row),
        thought=reply.think,
        answer=reply.answer,
        model_text=_model_text(row),
        about={key: row.meta[key] for key in ("about", "marks") if row.meta.get(key)},
        pictures=tuple(Picture(content=_jpeg(image, side), overlay=over, size=_size(image)) for image, over in shown),
        films=tuple(row.files) if row.is_video else (),
    )


def _question(row: StoredRow) -> str:
    """What is asked, all turns but the last, without markers."""
    return "\n\n".join(text.strip() for role, text in row.turns(marker="")[:-1] if role != "system")


def _model_text(row: StoredRow) -> str:
    """The conversation as a backbone reads it, after field-of-view unification to VST's own camera."""
    record = unify_record(row.record, target=FovTarget())
    return "".join(segment.text for segment in render(record_messages(record)))


def _fitting(sample: Sample, left: float) -> tuple[Sample, float]:
    """The sample without those files that do not fit into what is left of its family's share; what is left then."""
    films = sample.films if sum(map(len, sample.films)) < left else ()
    pictures = sum(len(picture.content) for picture in sample.pictures)
    left -= sum(map(len, films))
    if pictures > left:
        return replace(sample, films=films, pictures=(), left_out=True), left
    return replace(sample, films=films, left_out=films != sample.films), left - pictures


def _jpeg(picture: Array, side: int) -> bytes:
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _size(picture: Array) -> tuple[int, int]:
    height, width = picture.shape[:2]
    return width, height
