"""The spatial data engine: families of questions with exact answers, out of simulated scenes.

A family is one file here and one line in `_CLASSES`.
"""

from __future__ import annotations

from typing import Any

from vst_vla.envs.qa.base import Clip, ClipFamily, Family, QAItem, SceneFamily
from vst_vla.envs.qa.caption import Caption
from vst_vla.envs.qa.depth_order import DepthOrder
from vst_vla.envs.qa.detection import Detection
from vst_vla.envs.qa.distance import Distance
from vst_vla.envs.qa.fields import Fields
from vst_vla.envs.qa.grounding import Grounding
from vst_vla.envs.qa.measurement import Measurement
from vst_vla.envs.qa.mi_camera_motion import CameraMotion
from vst_vla.envs.qa.mi_camera_relation import CameraRelation
from vst_vla.envs.qa.mi_caption import MultiImageCaption
from vst_vla.envs.qa.mi_correspondence import Correspondence
from vst_vla.envs.qa.mi_detection import MultiImageDetection
from vst_vla.envs.qa.mi_object_relation import ObjectRelation
from vst_vla.envs.qa.mi_quiz import MultiImageQuiz
from vst_vla.envs.qa.quiz import Quiz
from vst_vla.envs.qa.reason_camera_motion import ReasonCameraMotion
from vst_vla.envs.qa.reason_camera_relation import ReasonCameraRelation
from vst_vla.envs.qa.reason_object_relation import ReasonObjectRelation
from vst_vla.envs.qa.reason_single import ReasonSingle
from vst_vla.envs.qa.robot_box import RobotBox
from vst_vla.envs.qa.robot_goal_now import RobotGoalNow
from vst_vla.envs.qa.robot_gripper import RobotGripper
from vst_vla.envs.qa.robot_point import RobotPoint
from vst_vla.envs.qa.robot_reach_first import RobotReachFirst
from vst_vla.envs.qa.robot_trace import RobotTrace
from vst_vla.envs.qa.video_caption import VideoCaption
from vst_vla.envs.qa.video_counting import Counting
from vst_vla.envs.qa.video_measurement import VideoMeasurement
from vst_vla.envs.qa.video_mixed import VideoMixed
from vst_vla.envs.qa.video_object_relation import VideoObjectRelation
from vst_vla.envs.qa.video_order import VideoOrder
from vst_vla.envs.qa.video_route_plan import RoutePlan
from vst_vla.vla.contracts import check_names, unknown_name

_CLASSES: tuple[Any, ...] = (
    Detection,
    Grounding,
    DepthOrder,
    Distance,
    Caption,
    Measurement,
    Correspondence,
    MultiImageDetection,
    ObjectRelation,
    CameraRelation,
    CameraMotion,
    MultiImageCaption,
    VideoMeasurement,
    VideoObjectRelation,
    Counting,
    RoutePlan,
    VideoOrder,
    VideoCaption,
    VideoMixed,
    RobotPoint,
    RobotBox,
    RobotGripper,
    RobotTrace,
    RobotReachFirst,
    RobotGoalNow,
    ReasonSingle,
    ReasonObjectRelation,
    ReasonCameraMotion,
    ReasonCameraRelation,
    Fields,
    Quiz,
    MultiImageQuiz,
)

FAMILIES: dict[str, Any] = {family.name: family for family in _CLASSES}
"""Name -> class of every family."""

__all__ = ["FAMILIES", "Clip", "ClipFamily", "Family", "QAItem", "SceneFamily", "family_class", "make_family"]


def family_class(name: str) -> Any:
    """The family's class. Raises ValueError for an unknown name, with a near-miss hint."""
    if name not in FAMILIES:
        raise unknown_name("question family", name, FAMILIES)
    return FAMILIES[name]


def make_family(name: str, **options: Any) -> Any:
    """The family of that name. Raises ValueError for an unknown name or option, with a near-miss hint."""
    found = family_class(name)
    check_names(f"option of {name}", options, choices=found.__dataclass_fields__)
    return found(**options)
