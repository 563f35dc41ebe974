"""A row of a parquet file as it is stored, beside what it decodes to."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vst_vla.vla.data.record_files import DAMAGED, Record, Skipped, scan_rows
from vst_vla.vla.data.records import VIDEO_TYPE, decode
from vst_vla.vla.data.videos import mark_frames
from vst_vla.vla.prompt import Message, record_messages

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRow:
    """One usable row."""

    file: Path
    number: int  # in that file
    raw: Record  # with encoded pictures and videos
    record: Record  # what `SpatialRecords` yields

    @property
    def is_video(self) -> bool:
        """Whether its files are videos; a row of type "video" may hold frames as pictures, each marked in the text."""
        marked = any("<image>" in turn["value"] for turn in self.raw["conversations"])
        return VIDEO_TYPE in self.record["type"] and not marked

    @property
    def files(self) -> list[bytes]:
        """Its encoded pictures or videos."""
        return [] if self.record["type"] == "text" else [entry["bytes"] for entry in self.raw["images"] or []]

    @property
    def meta(self) -> dict[str, Any]:
        """What is said about its first picture, and by us about the question; empty without."""
        first = self.record["meta_info"][0] if self.record["meta_info"] else {}
        return first if isinstance(first, dict) else {}

    def turns(self, *, marker: str) -> list[tuple[str, str]]:
        """(role, text) of the conversation, the system's first, with `marker` where a picture or video belongs."""
        said = self.raw["conversations"]
        if self.is_video:
            said = mark_frames(said, num_frames=[1] * len(self.files))
        return spoken(record_messages({**self.record, "conversations": said, "images": self.files}), marker=marker)


def spoken(messages: Sequence[Message], *, marker: str) -> list[tuple[str, str]]:
    """(role, text) of every message, with `marker` where a picture belongs."""
    return [(m["role"], "".join(part.get("text", marker) for part in m["content"])) for m in messages]


def stored_rows(path: Path, *, skipped: list[Skipped], only: Container[int] | None = None) -> Iterator[StoredRow]:
    """One pass over a file's usable rows, few at a time in memory.

    Args:
        path: the parquet file.
        skipped: gains every row that cannot be used; the log names it too.
        only: numbers of the rows wanted; all when not given.

    Raises:
        ValueError: the file is not parquet, or lacks a column.
    """
    for number, raw in scan_rows(path, only=only):
        try:
            if raw is None:
                raise ValueError(DAMAGED)
            record = decode(raw)
        except ValueError as error:
            skipped.append(Skipped(path, number, str(error)))
            log.warning("skipping row %d of %s: %s (%d skipped)", number, path, error, len(skipped))
        else:
            yield StoredRow(file=path, number=number, raw=raw, record=record)
