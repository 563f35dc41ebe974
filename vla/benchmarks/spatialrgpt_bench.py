"""SpatialRGPT-Bench: relations and measures of marked regions, scored by rule."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vst_vla.vla.benchmarks.base import Benchmark, Scored, mean
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, Marked, stored
from vst_vla.vla.benchmarks.statements import clock_hour, length_in_metres, near_hour, near_length, yes_or_no

_REGION = re.compile(r"region\s*\[?(\d+)\]?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class SpatialRGPTBench(Benchmark):
    """SpatialRGPT-Bench (Cheng et al., arXiv 2406.01584), files as in a8cheng/SpatialRGPT-Bench: rows with pictures.

    Rule-scored: the published numbers come from a language model as judge; these do not compare with them. Measures are
    right within 25 % after units are converted, directions within an hour of the clock, other answers when they say the
    same of yes and no, or name the same region. Regions are drawn on the picture as numbered rectangles.
    """

    name: ClassVar[str] = "spatialrgpt_bench"
    about: ClassVar[str] = (
        "RULE-SCORED, not comparable with judged numbers; measures within 25 %, directions within 1 h"
    )

    def items(self, folder: Path) -> Iterator[Item]:
        """One marked picture an item."""
        columns = ("image", "bbox", "conversations", "text_q", "qa_info")
        rows = read_rows(folder, "*.jsonl", "*.json", "**/*.parquet", columns=columns)
        for number, (_, row) in enumerate(rows):
            name, info = str(row.get("id", number)), _plain(row["qa_info"])
            picture = _picture(row["image"], folder, name)
            yield Item(
                id=name,
                category=f"{info['type']} {info['category']}",
                prompt=row["text_q"].replace("<image>", "").strip(),
                truth=_plain(row["conversations"])[1]["value"],
                pictures=(Marked(picture=picture, boxes=tuple(tuple(box) for box in _plain(row["bbox"]))),),
                about={"type": info["type"], "category": info["category"]},
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """What the rule compares: the hour, the length in metres, yes or no with the region named."""
        return _reading(answer, item)

    def compare(self, answer: str, *, item: Item) -> float:
        """1 within the band. Raises ValueError when the truth has nothing that the rule compares."""
        truth = _reading(item.truth, item)
        if truth is None:
            raise ValueError(f"item '{item.id}' has the truth '{item.truth}', which no rule reads: leave it out")
        if item.about["type"] != "quantitative":
            return float(answer == truth)
        said, true = float(answer), float(truth)
        return (near_hour if item.about["category"] == "direction" else near_length)(said, true=true)

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Mean over all items, and of the two halves."""
        kinds = ("qualitative", "quantitative")
        halves = {kind: mean(e for e in scored if e.item.about["type"] == kind) for kind in kinds}
        return {"rule_scored_accuracy": mean(scored), **halves}


def _reading(text: str, item: Item) -> str | None:
    if item.about["type"] != "quantitative":
        return _statement(text)
    if item.about["category"] == "direction":
        hour = clock_hour(text)
        return None if hour is None else str(hour)
    return length_in_metres(_REGION.sub("", text))


def _statement(text: str) -> str | None:
    """Yes or no, or else the region that is named first."""
    region = _REGION.search(text)
    return yes_or_no(text) or (f"region {region.group(1)}" if region else None)


def _plain(value: Any) -> Any:
    """Columns that some copies hold as JSON text."""
    return json.loads(value) if isinstance(value, str) else value


def _picture(value: Any, folder: Path, name: str) -> bytes | Path:
    if isinstance(value, str) and Path(value).suffix:
        return folder / value
    return stored(value, name=name)
