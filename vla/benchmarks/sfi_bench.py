"""SFI-Bench: where things are in a filmed room, and what they are for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, LETTERS, Benchmark, Scored, by_category, lettered, mean
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, Video
from vst_vla.vla.benchmarks.letters import stated_letter
from vst_vla.vla.contracts import unknown_name

HALVES = {"spatial": ("GCT", "MPR", "LI"), "functional": ("FA", "OP", "TS")}
_TASKS = [task for tasks in HALVES.values() for task in tasks]
_COLUMNS = ("id", "video", "task", "question", "options", "answer")


@dataclass(frozen=True, kw_only=True)
class SFIBench(Benchmark):
    """SFI-Bench (Zhang et al., arXiv 2605.02130), multiple choice about films of ARKitScenes and ScanNet++.

    The layout of the published files could not be looked at, so this one is ours: FOLDER/*.jsonl, *.json or parquet
    with the columns id, video (a path below FOLDER), task, question, options (texts, with their letters or without)
    and answer (a letter). Tasks are counting under conditions (GCT), paths of several steps (MPR), layout (LI),
    function (FA), operation (OP) and troubleshooting (TS), upper or lower case. There is no official prompt here
    either.

    Args:
        num_frames: evenly spaced frames of a film that are shown.
    """

    name: ClassVar[str] = "sfi_bench"
    about: ClassVar[str] = "accuracy over all items; columns and prompt are ours, the published ones are not known here"

    num_frames: int = 32

    def items(self, folder: Path) -> Iterator[Item]:
        """One film an item."""
        for path, row in read_rows(folder, "*.jsonl", "*.json", "**/*.parquet", columns=_COLUMNS):
            name, task = str(row["id"]), str(row["task"]).strip().upper()
            if task not in _TASKS:
                raise unknown_name(f"task of item '{name}' in '{path}':", task, _TASKS)
            yield Item(
                id=name,
                category=task,
                prompt=f"These are frames of a video.\n{row['question']}\n{_choices(row['options'])}\n{LETTER_PROMPT}",
                truth=str(row["answer"]).strip().upper()[:1],
                pictures=(Video(path=folder / row["video"], num_frames=self.num_frames),),
                group=row["video"],
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The letter."""
        return stated_letter(answer, letters=LETTERS)

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Accuracy over all items, the mean of the tasks, and of the tasks of each half."""
        tasks = {name: mean(entries) for name, entries in by_category(scored).items()}
        halves = {half: _mean([tasks[name] for name in names if name in tasks]) for half, names in HALVES.items()}
        return {"accuracy": mean(scored), "mean_of_tasks": _mean(list(tasks.values())), **halves, **tasks}


def _choices(options: Sequence[str]) -> str:
    """One option a line, each with its letter."""
    marked = all(re.match(rf"\(?{letter}[.:)]", text) for letter, text in zip(LETTERS, options, strict=False))
    return "\n".join(options) if marked else lettered(options)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
