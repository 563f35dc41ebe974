"""How far a held-out set is from the questions of training: which scenes, cameras and objects they share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vst_vla.envs.qa.shards import MANIFEST
from vst_vla.envs.suites import get_task

_SECTION = re.compile(r"\(:(?:objects|fixtures)(.*?)\)", re.DOTALL)
_GROUND = re.compile(r"(?:.*_)?(?:table|floor)")


def apart(training: Path, tests: Path) -> dict[str, Any]:
    """What datasets of `vst-vla qa` below two folders have in common, by their manifests and LIBERO's task files.

    A scene is a task with an initial state; a camera is one of the policy's, since the others are drawn anew for each
    scene from the dataset's own seed; an object is its kind, the ground left out.
    """
    sides = [
        [json.loads(path.read_text())["settings"] for path in sorted(folder.rglob(MANIFEST))]
        for folder in (training, tests)
    ]
    shared = {
        "scenes": set.intersection(*(_scenes(side) for side in sides)),
        "cameras": set.intersection(
            *({camera for settings in side for camera in settings["cameras"]} for side in sides)
        ),
        "objects": set.intersection(*(_objects(side) for side in sides)),
    }
    seeds = [sorted({settings["seed"] for settings in side}) for side in sides]
    return {
        **{f"shared_{kind}": sorted(map(str, found)) for kind, found in shared.items()},
        "training_objects": sorted(_objects(sides[0])),
        "test_objects": sorted(_objects(sides[1])),
        "training_seeds": seeds[0],
        "test_seeds": seeds[1],
    }


def object_kinds(problem: str) -> set[str]:
    """The kinds of things that a task's BDDL file places, the ground left out."""
    lines = [line for section in _SECTION.findall(problem) for line in section.splitlines() if " - " in line]
    kinds = {line.rpartition(" - ")[2].strip() for line in lines}
    return {kind for kind in kinds if not _GROUND.fullmatch(kind)}


def _scenes(datasets: Iterable[dict[str, Any]]) -> set[tuple[str, int, int]]:
    return {(suite, task, state) for made in datasets for suite, task in made["tasks"] for state in made["init_states"]}


def _objects(datasets: Sequence[dict[str, Any]]) -> set[str]:
    tasks = {(suite, task) for settings in datasets for suite, task in settings["tasks"]}
    files = [get_task(suite, task_id=task).bddl_file for suite, task in tasks]
    return set().union(*(object_kinds(file.read_text()) for file in files))
