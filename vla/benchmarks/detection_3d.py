"""3-D detection: boxes of what a question names, by Omni3D's average precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vst_vla.vla.benchmarks.average_precision import average_precision
from vst_vla.vla.benchmarks.base import Benchmark, Scored, mean
from vst_vla.vla.benchmarks.item import Item
from vst_vla.vla.benchmarks.records import record_questions
from vst_vla.vla.data.boxes import Box, parse_boxes
from vst_vla.vla.fov import BOX_TYPE, FovTarget
from vst_vla.vla.tasks.boxes import Boxes

_BOXES = Boxes()


@dataclass(frozen=True, kw_only=True)
class Detection3D(Benchmark):
    """Records of type bbox_3d in VST's parquet format, such as rayruiyang/vst_3d_grounding_benchmark: FOLDER/*.parquet.

    AP3D with the exact overlap of rotated boxes (`average_precision`). An item's own score is the reward's
    (`tasks.boxes`). Depth bands and an interval are not reported.

    Args:
        fov_width: pictures are resized to the camera that sees `fov_deg` degrees in this many pixels (`vla/fov.py`).
        fov_deg: see `fov_width`.
    """

    name: ClassVar[str] = "detection_3d"
    about: ClassVar[str] = "Omni3D's AP3D, exact overlap; equal confidences, so the order of boxes breaks ties"
    resampled: ClassVar[bool] = False

    fov_width: int = 960
    fov_deg: float = 69.16

    def items(self, folder: Path) -> Iterator[Item]:
        """One picture an item; records of other types are left out."""
        for question in record_questions(folder, fov=FovTarget(width=self.fov_width, hfov_deg=self.fov_deg)):
            if BOX_TYPE in question.kind:
                _BOXES.read_truth(question.truth)
                yield Item(
                    id=question.id,
                    category="all",
                    prompt=question.prompt,
                    truth=question.truth,
                    pictures=question.pictures,
                )

    def read(self, answer: str, *, item: Item) -> str | None:
        """The answer itself when it is a list of boxes."""
        return answer if _BOXES.parse(answer) is not None else None

    def compare(self, answer: str, *, item: Item) -> float:
        """0.5 matched overlap + 0.5 F1."""
        return _BOXES.score(answer, truth=item.truth)

    def figures(self, scored: Sequence[Scored]) -> dict[str, float]:
        """AP3D, AP15, AP25, AP50, and the mean of the items' own scores."""
        pictures = [(_boxes(entry.answer), _boxes(entry.item.truth)) for entry in scored]
        return {**average_precision(pictures), "matched": mean(scored)}


def _boxes(text: str | None) -> list[Box]:
    return [] if text is None else parse_boxes(text)
