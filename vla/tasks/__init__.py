"""Tasks by the name that a record calls them by. A task is one file here and one line in `_CLASSES`."""

from __future__ import annotations

from typing import Any

from vst_vla.vla.tasks.anls import Spelling
from vst_vla.vla.tasks.base import Task
from vst_vla.vla.tasks.boxes import Boxes
from vst_vla.vla.tasks.choice import Choice
from vst_vla.vla.tasks.graded import Graded
from vst_vla.vla.tasks.maths import Maths
from vst_vla.vla.tasks.relaxed import Relaxed
from vst_vla.vla.tasks.scene_graph import SceneGraph
from vst_vla.vla.tasks.words import Words

_CLASSES: tuple[type[Task[Any]], ...] = (Choice, Words, Relaxed, Spelling, Graded, Maths, Boxes, SceneGraph)

TASKS: dict[str, type[Task[Any]]] = {task.name: task for task in _CLASSES}
"""Name -> class; the first four, `math_score` and `bbox3d` are called as VST's RL files call them."""

__all__ = ["TASKS", "Task"]
