"""The LIBERO suites as data: tasks, horizons, settle steps, initial states. Needs neither torch nor a simulator.

Task names, goals (BDDL) and initial states are hf-libero's own files; horizons are those of the OpenVLA protocol
(https://github.com/openvla/openvla, experiments/robot/libero), which the field follows.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import runpy
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vst_vla.vla.contracts import Array, unknown_name

CONTROL_HZ = 20
SETTLE_STEPS = 10
HORIZONS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}
NUM_EVAL_STATES = 20
"""Initial states 0 to 19 of every task are kept for evaluation; demonstrations never start from them."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One LIBERO task: its place in the suite, its sentence, its files."""

    suite: str
    task_id: int
    name: str
    language: str
    bddl_file: Path
    init_states_file: Path

    @property
    def horizon(self) -> int:
        """Control steps after settling before the episode is cut."""
        return HORIZONS[self.suite]


def libero_root() -> Path:
    """The folder of the installed `libero.libero` package, found without importing it."""
    spec = importlib.util.find_spec("libero")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("LIBERO is not installed: run `pip install hf-libero==0.1.4` (Linux only)")
    return Path(next(iter(spec.submodule_search_locations))) / "libero"


@cache
def _task_names() -> dict[str, list[str]]:
    table: dict[str, Any] = runpy.run_path(str(libero_root() / "benchmark" / "libero_suite_task_map.py"))
    return dict(table["libero_task_map"])


def _sentence(name: str) -> str:
    """The instruction out of a task's name; LIBERO-100 names start with an upper-case scene, which is dropped."""
    words = name.split("_")
    if name[0].isupper():
        words = words[next(i for i, w in enumerate(words) if w.startswith("SCENE")) + 1 :]
    return " ".join(words)


def num_tasks(suite: str) -> int:
    """How many tasks the suite has. Raises ValueError for an unknown suite."""
    if suite not in HORIZONS:
        raise unknown_name("suite", suite, HORIZONS)
    return len(_task_names()[suite])


def get_task(suite: str, *, task_id: int) -> Task:
    """The suite's task by number. Raises ValueError for an unknown suite or a number out of range."""
    count = num_tasks(suite)
    if not 0 <= task_id < count:
        raise ValueError(f"task_id {task_id} is out of range: {suite} has tasks 0 to {count - 1}")
    name = _task_names()[suite][task_id]
    return Task(
        suite=suite,
        task_id=task_id,
        name=name,
        language=_sentence(name),
        bddl_file=libero_root() / "bddl_files" / suite / f"{name}.bddl",
        init_states_file=libero_root() / "init_files" / suite / f"{name}.pruned_init",
    )


class _NumpyOnly(pickle.Unpickler):
    """hf-libero stores its initial states as a pickled array; nothing but numpy's own pieces may come out of one."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] != "numpy" and (module, name) != ("_codecs", "encode"):
            raise pickle.UnpicklingError(f"initial states hold {module}.{name}, expected a numpy array only")
        return super().find_class(module, name)


@cache
def init_states(task: Task) -> Array:
    """The task's official initial states (N, 1 + nq + nv): time, joint positions, joint velocities."""
    with zipfile.ZipFile(task.init_states_file) as archive:
        member = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        states = np.asarray(_NumpyOnly(io.BytesIO(archive.read(member))).load(), dtype=np.float64)
    states.flags.writeable = False
    return states


def init_state(task: Task, *, index: int) -> Array:
    """One official initial state. Raises ValueError when the index is out of range."""
    states = init_states(task)
    if not 0 <= index < len(states):
        raise ValueError(
            f"init_state {index} is out of range: {task.suite} task {task.task_id} has 0 to {len(states) - 1}"
        )
    return states[index]
