"""Checkers of questions: each finds the answer anew from raw simulator states, by none of the code that asks.

A checker is a function of a `Case` that raises AssertionError, with what is wrong, when the question or its answer does
not hold. Checkers share `things`, `moment`, `case` and `fitting`, and nothing with `vst_vla.envs.qa`.
"""

from importlib import import_module

from qa_truth.case import Case
from qa_truth.pictures import pictures_show

FAMILIES = (
    "detection",
    "grounding",
    "depth_order",
    "distance",
    "caption",
    "measurement",
    "mi_correspondence",
    "mi_detection",
    "mi_object_relation",
    "mi_camera_relation",
    "mi_camera_motion",
    "mi_caption",
    "video_measurement",
    "video_object_relation",
    "video_counting",
    "video_route_plan",
    "video_order",
    "video_caption",
    "video_mixed",
)
CHECKERS = {name: import_module(f"qa_truth.{name}").check for name in FAMILIES}
"""Family -> its checker."""


def check(case: Case) -> None:
    """Raises AssertionError unless the pictures show what they should and question and answer hold."""
    pictures_show(case)
    CHECKERS[case.item.family](case)
