"""SURDS: six tasks about what a car's cameras see."""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import Benchmark, Scored, all_right, by_category, mean
from vst_vla.vla.benchmarks.files import Row, read_rows
from vst_vla.vla.benchmarks.item import Item

TASKS = ("yaw", "xy2d", "depth", "dis", "lr", "fb")
POINT, DEPTH = "xy2d", "depth"
PAIRED = tuple(task for task in TASKS if task not in (POINT, DEPTH))
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_OPTIONS = re.compile(r"Options:.*?\n(.*?)(?=\n\n|\Z)", re.DOTALL)
_NUMBERS = re.compile(r"\[\s*([-\d.,\s]+)\s*\]")
_SIZE = re.compile(r"(\d+)x(\d+)")
_NO_MARKS = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True, kw_only=True)
class SURDS(Benchmark):
    """SURDS (Guo et al., arXiv 2411.13112): FOLDER/*_vqas.json as https://github.com/XiandaGuo/Drive-MLLM writes them.

    Its `hfdata_to_eval_vqa.py` makes six files and a folder `image` out of bonbon-rj/SURDS_eval, prompts included; they
    are shown as they stand. An answer stands in `<answer>` and holds one of the options. Where the thing is facing
    (yaw), which is nearer (dis), further left (lr) or in front (fb) are asked twice, the other way round, and only both
    right count; a point (xy2d) is worth its centredness in the true rectangle; a depth is one of three ranges. The
    headline is the mean of the six.
    """

    name: ClassVar[str] = "surds"
    about: ClassVar[str] = "mean of 6 tasks; yaw, dis, lr and fb need both of a pair right, xy2d is graded"

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item."""
        for task in TASKS:
            columns = ("image_path", "image_pixel", "prompt", "answer", *(["obj_bbox"] if task == POINT else []))
            rows = read_rows(folder, f"*{task}_vqas.json", columns=columns)
            for number, (_, row) in enumerate(rows):
                yield Item(
                    id=f"{task}-{number}",
                    category=task,
                    prompt=row["prompt"].strip(),
                    truth=str(row["answer"]),
                    pictures=(folder / "image" / Path(row["image_path"]).name,),
                    group=f"{task}-{number // 2}" if task in PAIRED else f"{task}-{number}",
                    about=_rectangle(row, f"{task}-{number}") if task == POINT else {"options": _options(row)},
                )

    def read(self, answer: str, *, item: Item) -> str | None:
        """What stands in <answer>, when it holds an option; a point inside the picture as [x, y] in px."""
        found = _ANSWER.search(answer)
        if found is None:
            return None
        text = found.group(1).strip()
        if item.category == POINT:
            point = _point(text, item.about["size"])
            return None if point is None else json.dumps(point)
        held = (rf"\b{re.escape(option.lower())}\b" for option in item.about["options"])
        return text if any(re.search(pattern, text.lower()) for pattern in held) else None

    def compare(self, answer: str, *, item: Item) -> float:
        """The same words without marks and articles; of a point, its centredness."""
        if item.category == POINT:
            return _centredness(json.loads(answer), item.about["box"])
        return float(_bare(answer) == _bare(item.truth))

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """The mean over tasks that have items, then each task."""
        rows = by_category(scored)
        groups = {entry.item.id: entry.group for entry in scored}
        tasks = {
            task: all_right(rows[task], key=groups) if task in PAIRED else mean(rows[task])
            for task in TASKS
            if task in rows
        }
        return {"mean_of_tasks": sum(tasks.values()) / len(tasks), **tasks}


def _options(row: Row) -> list[str]:
    found = _OPTIONS.search(row["prompt"])
    return re.findall(r"-\s*(\S.*)", found.group(1)) if found else []


def _rectangle(row: Row, name: str) -> dict[str, object]:
    size = _SIZE.fullmatch(row["image_pixel"])
    if size is None:
        raise ValueError(f"item '{name}' has image_pixel '{row['image_pixel']}', expected WIDTHxHEIGHT")
    return {"box": tuple(row["obj_bbox"]), "size": tuple(map(int, size.groups()))}


def _point(text: str, size: Sequence[int]) -> list[float] | None:
    """[x, y] in px of a point, or of a rectangle's middle; numbers below 1 are shares of the picture."""
    found = _NUMBERS.search(text)
    try:
        numbers = [float(part) for part in found.group(1).split(",")] if found else []
    except ValueError:
        return None
    if len(numbers) == 4:
        numbers = [(numbers[0] + numbers[2]) // 2, (numbers[1] + numbers[3]) // 2]
    if len(numbers) != 2:
        return None
    point = [value * full if value < 1 else value for value, full in zip(numbers, size, strict=True)]
    return point if all(0 <= value < full for value, full in zip(point, size, strict=True)) else None


def _centredness(point: Sequence[float], box: Sequence[float]) -> float:
    """1 in the middle of the rectangle (x1, y1, x2, y2), 0 at its edges and outside (FCOS, arXiv 1904.01355)."""
    (x, y), (x1, y1, x2, y2) = point, box
    sides = ((x - x1, x2 - x), (y - y1, y2 - y))
    if min(min(pair) for pair in sides) < 0:
        return 0.0
    return math.sqrt(math.prod(min(pair) / max(pair) if max(pair) else 1.0 for pair in sides))


def _bare(text: str) -> str:
    return " ".join(_ARTICLES.sub("", text.lower().translate(_NO_MARKS)).split())
