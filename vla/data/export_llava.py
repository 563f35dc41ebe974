"""LLaVA's layout: one JSON list of conversations, pictures and videos as files beside it.

    OUT/questions.json   [{"id", "image" or "video", "conversations", "system", "data_source", "type", ...}, ...]
    OUT/images/xx/….png  encoded pictures as they were stored, each once, named by their content
    OUT/videos/xx/….mp4  videos

`image` is a path under OUT, or a list of them; `<image>` stands in the text where each belongs, `<video>` likewise.
Readers of this layout are LLaVA's own trainers, LLaMA-Factory (sharegpt form) and Qwen2.5-VL's fine-tuning scripts.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from vst_vla.vla.data.stored import StoredRow
from vst_vla.vla.files import replacing_file

QUESTIONS = "questions.json"
_SPEAKERS = {"user": "human", "assistant": "gpt"}
_ENDINGS = {"JPEG": ".jpg"}


class Llava:
    """Writes the layout."""

    def write_part(self, folder: Path, *, number: int, rows: Iterable[StoredRow]) -> Mapping[str, int]:
        """One line of JSON a row; its pictures and videos as files."""
        count = 0
        with replacing_file(_part_path(folder, number)) as fresh, fresh.open("w", encoding="utf-8") as lines:
            for row in rows:
                lines.write(json.dumps(_entry(row, folder), ensure_ascii=False) + "\n")
                count += 1
        return {"": count}

    def finish(self, folder: Path, *, num_parts: int) -> None:
        """Joins the lines to one list."""
        with replacing_file(folder / QUESTIONS) as fresh, fresh.open("w", encoding="utf-8") as out:
            opening = "[\n"
            for line in _lines(folder, num_parts):
                out.write(opening + line)
                opening = ",\n"
            out.write("\n]\n" if opening == ",\n" else "[]\n")


def _part_path(folder: Path, number: int) -> Path:
    return folder / "parts" / f"{number:05d}.jsonl"


def _lines(folder: Path, num_parts: int) -> Iterator[str]:
    for number in range(num_parts):
        with _part_path(folder, number).open(encoding="utf-8") as part:
            yield from (line.rstrip("\n") for line in part)


def _entry(row: StoredRow, folder: Path) -> dict[str, Any]:
    (_, system), *turns = row.turns(marker="<video>\n" if row.is_video else "<image>\n")
    files = [_store(content, folder, ending=_ending(row, place)) for place, content in enumerate(row.files)]
    entry: dict[str, Any] = {"id": row.record["id"]}
    if files:
        entry["video" if row.is_video else "image"] = files if len(files) > 1 else files[0]
    entry["conversations"] = [{"from": _SPEAKERS[role], "value": text} for role, text in turns]
    entry |= {"system": system, "data_source": row.record["data_source"], "type": row.record["type"]}
    return entry | {key: row.meta[key] for key in ("family", "level") if key in row.meta}


def _store(content: bytes, folder: Path, *, ending: str) -> str:
    """Writes a file named by its content, unless it is there; returns its path under `folder`."""
    name = hashlib.sha256(content).hexdigest()[:32]
    path = folder / ("images" if ending != ".mp4" else "videos") / name[:2] / (name + ending)
    if not path.is_file():
        with replacing_file(path) as fresh:
            fresh.write_bytes(content)
    return path.relative_to(folder).as_posix()


def _ending(row: StoredRow, place: int) -> str:
    if row.is_video:
        return ".mp4"
    with Image.open(io.BytesIO(row.files[place])) as opened:
        form = str(opened.format)
    return _ENDINGS.get(form, f".{form.lower()}")
