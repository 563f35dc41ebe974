"""Whether an item's pictures show the moments that it is about, from the cameras that it names: drawn again here."""

import numpy as np

from qa_truth.case import Case

MEAN, SHARE = 6.0, 0.01
"""Mean difference in steps of 255; share of pixels that may differ much, for each point drawn and once more."""
MUCH = 60


def pictures_show(case: Case) -> None:
    """Asserts it."""
    drawn = list(own_pictures(case))
    assert len(drawn) == len(case.item.images)
    for ours, theirs in zip(drawn, case.item.images, strict=True):
        gap = np.abs(ours.astype(np.int16) - theirs).max(axis=-1)
        assert gap.mean() < MEAN, f"a picture shows something else: {gap.mean():.1f} of 255"
        assert (gap > MUCH).mean() < SHARE * (1 + len(case.item.marks)), (
            f"a picture shows something else: {(gap > MUCH).mean():.1%} of its pixels"
        )


def own_pictures(case):
    if "frames" in case.about:
        return (moment.picture(case.camera) for moment in case.shown)
    cameras = case.about.get("cameras") or [case.camera]
    return (case.moment.picture(camera) for camera in cameras)
