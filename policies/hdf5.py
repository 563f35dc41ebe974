"""LIBERO's own demonstrations, `<task>_demo.hdf5`: what of them a replay needs.

Layout (https://github.com/Lifelong-Robot-Learning/LIBERO): groups `data/demo_0`, `data/demo_1`, … each with `actions`
(T, 7), `states` (T, 1 + nq + nv; flat MuJoCo states) and 128-pixel observations, which are not read. Letters: T steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vst_vla.envs.suites import HORIZONS, Task, get_task, num_tasks
from vst_vla.vla.contracts import LIBERO_ACTION, Array, near_miss

SUFFIX = "_demo.hdf5"


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredDemo:
    """One demonstration of a file."""

    source: str  # file and group, such as "…_demo.hdf5/demo_3"
    task: Task
    state: Array  # (1 + nq + nv,) where it began, before the scene settled
    actions: Array  # (T, 7)


def read_demos(folder: str | Path) -> list[StoredDemo]:
    """Every demonstration of every `*_demo.hdf5` in a folder, by task and number.

    Raises:
        ValueError: no such file, one named after no LIBERO task, one whose content is amiss, or files of several
            suites.
    """
    paths = sorted(Path(folder).expanduser().glob(f"*{SUFFIX}"))
    if not paths:
        raise ValueError(
            f"'{folder}' has no file named <task>{SUFFIX}: give the folder of one LIBERO suite's HDF5 files"
        )
    tasks = {path: _task_of(path) for path in paths}
    suites = sorted({task.suite for task in tasks.values()})
    if len(suites) > 1:
        raise ValueError(f"'{folder}' holds files of {' and '.join(suites)}: give a folder with one suite's files")
    ordered = sorted(paths, key=lambda path: tasks[path].task_id)
    return [demo for path in ordered for demo in _read_file(path, tasks[path])]


def _task_of(path: Path) -> Task:
    every = [get_task(suite, task_id=i) for suite in HORIZONS for i in range(num_tasks(suite))]
    by_name = {task.name: task for task in every}
    name = path.name.removesuffix(SUFFIX)
    if name not in by_name:
        hint = near_miss(name, by_name).split("choices:")[0]
        raise ValueError(f"'{path.name}' is named after no LIBERO task: {hint}expected <task>{SUFFIX}")
    return by_name[name]


def _read_file(path: Path, task: Task) -> list[StoredDemo]:
    with _readable(path), h5py.File(path, "r") as file:
        data = file.get("data")
        names = [name for name in data or () if name.startswith("demo_") and name[5:].isdigit()]
        if not names:
            raise ValueError(f"'{path}' has no groups data/demo_0, data/demo_1, …: expected one of LIBERO's own files")
        return [_read_demo(data[name], path, task) for name in sorted(names, key=lambda name: int(name[5:]))]


def _read_demo(group: Any, path: Path, task: Task) -> StoredDemo:
    where = f"'{path}' {group.name}"
    for name in ("actions", "states"):
        if name not in group or group[name].ndim != 2 or not len(group[name]):
            raise ValueError(f"{where} has no '{name}' of shape (T, D): expected one of LIBERO's own files")
    actions, state = np.asarray(group["actions"], np.float64), np.asarray(group["states"][0], np.float64)
    try:
        LIBERO_ACTION.check(actions)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if not np.isfinite(state).all():
        raise ValueError(f"{where}: its first state holds a NaN or infinity: copy or download the file again")
    return StoredDemo(source=f"{path.name}{group.name.removeprefix('/data')}", task=task, state=state, actions=actions)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the HDF5 library says about a damaged file, in one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"'{path}' cannot be read ({reason}): copy or download it again") from error
