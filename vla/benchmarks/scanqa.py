"""ScanQA: free questions about scanned rooms, with several accepted answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import WORD_PROMPT, Benchmark
from vst_vla.vla.benchmarks.files import find_files, read_rows
from vst_vla.vla.benchmarks.item import Item


@dataclass(frozen=True, kw_only=True)
class ScanQA(Benchmark):
    """ScanQA (Azuma et al., arXiv 2112.10482), FOLDER/ScanQA_v1.0_val.json as its authors publish it.

    ScanNet's frames are the user's to extract: FOLDER/frames/<scene_id>/*.jpg, of which evenly spaced ones are shown.
    Right when equal to one of the answers without case and final dot (EM@1); caption metrics are not computed.

    Args:
        num_frames: pictures of a room.
    """

    name: ClassVar[str] = "scanqa"
    about: ClassVar[str] = "EM@1; no caption metrics"

    num_frames: int = 16

    def items(self, folder: Path) -> Iterator[Item]:
        """Several pictures of one room an item."""
        columns = ("scene_id", "question_id", "question", "answers")
        for _, row in read_rows(folder, "ScanQA_v1.0_val.json", columns=columns):
            yield Item(
                id=row["question_id"],
                category="all",
                prompt=f"These are frames of a video.\n{row['question']}\n{WORD_PROMPT}",
                truth=json.dumps([answer.lower() for answer in row["answers"]]),
                pictures=tuple(_spread(folder / "frames" / row["scene_id"], count=self.num_frames)),
                group=row["scene_id"],
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The text in lower case without a final dot."""
        return answer.strip().rstrip(".").lower() or None

    def compare(self, answer: str, *, item: Item) -> float:
        """Whether it is one of the accepted answers."""
        return float(answer in json.loads(item.truth))


def _spread(folder: Path, *, count: int) -> list[Path]:
    """At most `count` frames, evenly spaced, the first and the last included."""
    found = find_files(folder, "*.jpg", "*.png")
    steps = max(1, min(count, len(found)) - 1)
    return [found[round(i * (len(found) - 1) / steps)] for i in range(min(count, len(found)))]
