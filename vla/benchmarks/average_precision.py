"""Average precision of 3-D detection, as Omni3D measures it.

Letters in shapes: P predictions, T true boxes, R recall points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.boxes import Box
from vst_vla.vla.overlap import box_ious

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 11))
NAMED_THRESHOLDS = (0.15, 0.25, 0.5)
RECALLS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """One picture's boxes of one label."""

    ious: Array  # (P,T), predictions in the order in which they were given
    num_true: int


def average_precision(pictures: Sequence[tuple[Sequence[Box], Sequence[Box]]]) -> dict[str, float]:
    """{"AP3D", "AP15", "AP25", "AP50"} of (predicted, true) boxes a picture, in [0, 1].

    Omni3D (Brazil et al., arXiv 2207.10660): a label's AP is the mean, over 101 recalls, of the best precision at that
    recall or beyond; a prediction takes the free true box that it overlaps most; AP3D is the mean over the overlaps
    0.05, 0.10, …, 0.50 and over the labels that have a true box. At most 100 boxes a picture count. A language model
    gives no confidences, so all are equal and the order of pictures and of boxes decides; it is kept as given.
    """
    by_label = _by_label(pictures)
    table = {t: [_label_ap(entries, threshold=t) for entries in by_label.values()] for t in THRESHOLDS}
    means = {threshold: float(np.mean(values)) if values else float("nan") for threshold, values in table.items()}
    named = {f"AP{round(100 * threshold)}": means[threshold] for threshold in NAMED_THRESHOLDS}
    return {"AP3D": float(np.mean(list(means.values()))), **named}


def _by_label(pictures: Sequence[tuple[Sequence[Box], Sequence[Box]]]) -> Mapping[str, list[Matches]]:
    labels = sorted({box.label.lower() for _, true in pictures for box in true})
    found: dict[str, list[Matches]] = {label: [] for label in labels}
    for predicted, true in pictures:
        for label in labels:
            mine = [box.numbers for box in predicted[:MAX_DETECTIONS] if box.label.lower() == label]
            theirs = [box.numbers for box in true if box.label.lower() == label]
            if mine or theirs:
                found[label].append(Matches(ious=box_ious(mine, theirs), num_true=len(theirs)))
    return found


def _label_ap(entries: Sequence[Matches], *, threshold: float) -> float:
    hits = np.array([hit for entry in entries for hit in _hits(entry, threshold)], dtype=bool)
    true = sum(entry.num_true for entry in entries)
    if not len(hits):
        return 0.0
    found = np.cumsum(hits)
    recall, precision = found / true, found / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS - 1e-12, side="left")
    return float(np.where(places < len(best), best[np.minimum(places, len(best) - 1)], 0.0).mean())


def _hits(entry: Matches, threshold: float) -> list[bool]:
    """Whether each prediction takes a true box that no earlier one took."""
    free, hits = np.ones(entry.num_true, dtype=bool), []
    for row in entry.ious:
        fits = np.where(free, row, -1.0)
        best = int(np.argmax(fits)) if len(fits) else -1
        hits.append(best >= 0 and fits[best] >= threshold)
        if hits[-1]:
            free[best] = False
    return hits
