"""Staged episodes -> a LeRobot v3 data set with a record in `meta/` of how it was made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vst_vla.envs.suites import CONTROL_HZ
from vst_vla.policies.plan import Plan
from vst_vla.policies.recording import Recording
from vst_vla.policies.staging import Staging
from vst_vla.vla.contracts import ACTION_KEY, CELL_NUMBERS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, Array
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset

RECORD = "vst_vla.json"
"""Name of the file in `meta/` that says how the data set was made."""
ROBOT_TYPE = "panda"


def read_record(folder: Path) -> dict[str, Any]:
    """How a data set of ours was made: settings, specs and episodes. Raises ValueError for a folder that is none."""
    path = folder / "meta" / RECORD
    if not path.is_file():
        raise ValueError(f"'{folder}' is not a data set made by `vst-vla demos`: it has no meta/{RECORD}")
    return dict(json.loads(path.read_text()))


def write_demos(staging: Staging, plan: Plan, *, folder: Path, failed: Mapping[int, str], overwrite: bool) -> None:
    """Writes the staged episodes, in the plan's order, as the data set at `folder`, which appears when it is complete.

    Args:
        staging: where the episodes are.
        plan: what they were made for.
        folder: the data set's.
        failed: tasks to leave out, and why.
        overwrite: replace what is at `folder`.

    Raises:
        OSError: the disk is full; the staged episodes stay.
    """
    episodes: list[dict[str, Any]] = []
    classes: list[str] = []
    fresh = staging.folder / "dataset"
    shutil.rmtree(fresh, ignore_errors=True)
    write_dataset(
        fresh,
        _episodes(staging, plan, failed, described=episodes, classes=classes),
        fps=CONTROL_HZ,
        robot_type=ROBOT_TYPE,
        names={STATE_KEY: LIBERO_STATE.names, ACTION_KEY: LIBERO_ACTION.names},
        video=plan.video,
    )
    (fresh / "meta" / RECORD).write_text(json.dumps(_record(staging, plan, failed, episodes, classes), indent=1))
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    fresh.replace(folder)


def _record(
    staging: Staging, plan: Plan, failed: Mapping[int, str], episodes: list[dict[str, Any]], classes: list[str]
) -> dict[str, Any]:
    """What goes into `meta/`; entries that say nothing are left out."""
    tried = sum(episode["tries"] for episode in episodes)
    made: dict[str, Any] = {
        "settings": plan.settings,
        "suite": plan.suite,
        "tasks": {str(task): plan.sentence(task) for task in plan.tasks if task not in failed},
        "assets": plan.assets.kind,
    }
    if "seed" in plan.settings:
        made["seed"] = plan.settings["seed"]
    made |= {"state_spec": LIBERO_STATE.to_dict(), "action_spec": LIBERO_ACTION.to_dict()}
    made |= {"geometry": {"classes": classes, "numbers": CELL_NUMBERS}} if classes else {}
    if plan.drop_failures:
        dropped = [failure for failure in staging.failures().values() if failure.task_id not in failed]
        made |= {"replay_success_rate": len(episodes) / (tried + len(dropped)), "dropped": len(dropped)}
    else:
        made["expert_success_rate"] = len(episodes) / tried
    if failed:
        made["failed_tasks"] = {str(task): why for task, why in failed.items()}
    return {**made, "episodes": episodes}


def _episodes(
    staging: Staging, plan: Plan, failed: Mapping[int, str], *, described: list[dict[str, Any]], classes: list[str]
) -> Iterator[Episode]:
    """The staged episodes in order; `described` gets a line about each as it passes, `classes` what labels name."""
    for index, job in enumerate(tqdm(plan.jobs, unit="episode", desc="writing the data set", leave=False)):
        if job.task_id in failed or not staging.has(index):
            continue
        recording = staging.get(index)
        described.append(_describe(recording))
        yield Episode(
            task=recording.task,
            vectors={STATE_KEY: recording.states, ACTION_KEY: recording.actions},
            images=recording.images,
            labels=_renumbered(recording, classes),
        )


def _renumbered(recording: Recording, classes: list[str]) -> dict[str, Array]:
    """The labels with the data set's class numbers in the place of the scene's; `classes` grows by those it lacks."""
    classes += [name for name in recording.classes if name not in classes]
    table = np.array([classes.index(name) for name in recording.classes], dtype=np.int16)
    return {
        key: np.concatenate([table[values[..., :1]], values[..., 1:]], axis=-1)
        for key, values in recording.labels.items()
    }


def _describe(recording: Recording) -> dict[str, Any]:
    line: dict[str, Any] = {"task_id": recording.task_id}
    if recording.init_state is not None:
        line["init_state"] = recording.init_state
    line |= {"tries": recording.tries, "steps": recording.steps}
    line |= {"variation": recording.variation} if recording.variation else {}
    line |= {"source": recording.source} if recording.source else {}
    return {**line, "frames": len(recording.actions)}
