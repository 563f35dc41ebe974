"""Our own held-out questions: what `vst-vla qa` makes of scenes, cameras and objects that training has not seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vst_vla.vla.benchmarks.base import Benchmark, Scored, by_category, mean
from vst_vla.vla.benchmarks.item import Item
from vst_vla.vla.benchmarks.records import record_questions
from vst_vla.vla.data.verifiable import verifiable
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.tasks.judge import make_judge


@dataclass(frozen=True, kw_only=True)
class HeldOut(Benchmark):
    """Records of `vst-vla qa`, by family and level, scored by the tasks that reward them in training.

    Free text (captions) has no score and is left out. Questions with the same first picture are drawn together for an
    interval. The user keeps training data apart: another seed, the initial
    states 0 to 19, which training never uses, or another suite.

    Args:
        fov_width: pictures with 3-D boxes are resized to the camera that sees `fov_deg` degrees in this many pixels.
        fov_deg: see `fov_width`.
    """

    name: ClassVar[str] = "held_out"
    about: ClassVar[str] = "mean of the families' mean scores; the reward's own scorers"

    fov_width: int = 960
    fov_deg: float = 69.16

    def items(self, folder: Path) -> Iterator[Item]:
        """One to several pictures an item."""
        for question in record_questions(folder, fov=FovTarget(width=self.fov_width, hfov_deg=self.fov_deg)):
            check = verifiable(question.truth, kind=question.kind)
            if check is not None:
                make_judge(check.modes, truth=check.answer)
                yield Item(
                    id=question.id,
                    category=str(question.meta.get("family", question.kind)),
                    prompt=question.prompt,
                    truth=check.answer,
                    pictures=question.pictures,
                    group=hashlib.blake2b(question.pictures[0], digest_size=8).hexdigest() if question.pictures else "",
                    about={
                        "modes": list(check.modes),
                        "level": question.meta.get("level", ""),
                        "form": _form(question.meta),
                    },
                )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The answer, when one of the item's tasks can read it."""
        judge = make_judge(item.about["modes"], truth=item.truth)
        return answer if any(task.parse(answer) is not None for task in judge.tasks) else None

    def compare(self, answer: str, *, item: Item) -> float:
        """The best of the item's tasks."""
        return make_judge(item.about["modes"], truth=item.truth).score(answer)

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """The mean of families, the mean over all items, and each level."""
        families = [mean(entries) for entries in by_category(scored).values()]
        levels = sorted({str(entry.item.about["level"]) for entry in scored} - {""})
        rows = {level: mean(e for e in scored if e.item.about["level"] == level) for level in levels}
        return {"mean_of_families": sum(families) / len(families), "mean_of_items": mean(scored), **rows}


def _form(meta: Mapping[str, Any]) -> str:
    """In which of its forms a family asks: what, on which dial, in which words."""
    about = meta.get("about") or {}
    return " ".join(str(about[key]) for key in ("form", "dial", "what") if key in about)
