"""VSI-Bench: eight kinds of questions about a walk through a room, filmed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.base import LETTER_PROMPT, WORD_PROMPT, Benchmark, Scored, by_category, mean
from vst_vla.vla.benchmarks.files import read_rows
from vst_vla.vla.benchmarks.item import Item, Video
from vst_vla.vla.benchmarks.letters import first_token
from vst_vla.vla.benchmarks.number_words import first_number
from vst_vla.vla.tasks.graded import Graded

NUMERIC = ("object_abs_distance", "object_counting", "object_size_estimation", "room_size_estimation")
DIRECTION = "object_rel_direction"
_COLUMNS = ("dataset", "scene_name", "question_type", "question", "options", "ground_truth")
_GRADED = Graded()


@dataclass(frozen=True, kw_only=True)
class VSIBench(Benchmark):
    """VSI-Bench (Yang et al., arXiv 2412.14171), files as in nyu-visionx/VSI-Bench.

    FOLDER/test.jsonl (or test*.parquet) and FOLDER/<dataset>/<scene_name>.mp4. Choices are right when the first word is
    the letter; numbers get their mean relative accuracy (`tasks.graded`), the first number of the answer being read, in
    digits or in words, as lmms-eval does now. The headline is the plain mean of eight tasks, the three levels of
    direction being one.

    Args:
        num_frames: evenly spaced frames of a film that are shown.
    """

    name: ClassVar[str] = "vsi_bench"
    about: ClassVar[str] = "mean of 8 tasks; choices by the first word, numbers by mean relative accuracy"

    num_frames: int = 32

    def items(self, folder: Path) -> Iterator[Item]:
        """One film an item."""
        rows = read_rows(folder, "test*.jsonl", "test*.parquet", columns=_COLUMNS)
        for number, (_, row) in enumerate(rows):
            numeric = row["question_type"] in NUMERIC
            choices = "" if numeric else "\nOptions:\n" + "\n".join(row["options"] or [])
            ending = WORD_PROMPT if numeric else LETTER_PROMPT
            yield Item(
                id=str(row.get("id", number)),
                category=row["question_type"],
                prompt=f"These are frames of a video.\n{row['question']}{choices}\n{ending}",
                truth=str(row["ground_truth"]),
                pictures=(
                    Video(path=folder / row["dataset"] / f"{row['scene_name']}.mp4", num_frames=self.num_frames),
                ),
                group=row["scene_name"],
            )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The number, or the first word in lower case."""
        if item.category in NUMERIC:
            found = first_number(answer)
            return None if found is None else f"{found:g}"
        return first_token(answer).lower() or None

    def compare(self, answer: str, *, item: Item) -> float:
        """Mean relative accuracy of numbers, equality of letters."""
        if item.category in NUMERIC:
            return _GRADED.score(answer, truth=item.truth)
        return float(answer == item.truth.lower())

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """The mean over tasks that have items, then each task."""
        rows = {name: mean(entries) for name, entries in by_category(scored).items()}
        levels = [rows.pop(name) for name in list(rows) if name.startswith(DIRECTION)]
        if levels:
            rows[DIRECTION] = sum(levels) / len(levels)
        return {"mean_of_tasks": sum(rows.values()) / len(rows), **rows}
