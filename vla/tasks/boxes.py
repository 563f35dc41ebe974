"""3-D boxes, matched to the true ones by their overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scipy.optimize import linear_sum_assignment

from vst_vla.vla.data.boxes import Box, parse_boxes
from vst_vla.vla.overlap import box_ious
from vst_vla.vla.tasks.base import Task
from vst_vla.vla.tasks.form import is_well_formed

HIT = 0.25
"""Overlap from which a matched box counts as found."""


@dataclass(frozen=True, kw_only=True)
class Boxes(Task[list[Box]]):
    """A JSON list of 3-D boxes, at least one.

    VST's reward (https://github.com/Yangr116/VST): boxes are matched one to one for the largest sum of overlaps
    (Hungarian); half of the score is that sum over the number of true boxes, the other half the F1 of matches that
    overlap by a quarter. Labels are not compared, and no reasoning is asked for.
    """

    name: ClassVar[str] = "bbox3d"
    answers: ClassVar[str] = "a JSON list of 3-D boxes, at least one"

    thinking: bool = False

    def _read(self, text: str) -> list[Box] | None:
        try:
            return parse_boxes(text) or None
        except ValueError:
            return None

    def compare(self, answer: list[Box], *, truth: list[Box]) -> float:
        """0.5 matched overlap + 0.5 F1, with the exact overlap of rotated boxes (`overlap.box_iou`)."""
        ious = box_ious([box.numbers for box in answer], [box.numbers for box in truth])
        matched = ious[linear_sum_assignment(ious, maximize=True)]
        f1 = 2 * float((matched >= HIT).sum()) / (len(answer) + len(truth))
        return 0.5 * float(matched.sum()) / len(truth) + 0.5 * f1

    def well_formed(self, reply: str) -> bool:
        """Whether every entry is a label with nine numbers, as VST's format reward has it."""
        return is_well_formed(reply, thinking=self.thinking) and self.parse(reply) is not None
