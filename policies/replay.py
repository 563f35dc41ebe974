"""LIBERO's own demonstrations, replayed in the simulator and drawn anew, as a LeRobot v3 data set.

The rules are those with which OpenVLA made its data (https://github.com/openvla/openvla, experiments/robot/libero,
regenerate_libero_dataset.py) and which the field follows: begin at the stored state, settle for ten steps, leave out
actions that do nothing, keep what ends in success.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vst_vla.envs.assets import find_assets
from vst_vla.envs.libero import LiberoEnv, state_vector
from vst_vla.envs.suites import SETTLE_STEPS
from vst_vla.policies.collect import DemosReport, collect
from vst_vla.policies.demos import check_least
from vst_vla.policies.hdf5 import StoredDemo, read_demos
from vst_vla.policies.plan import Plan
from vst_vla.policies.recording import Failure, Outcome, Recorder, Recording, is_no_op
from vst_vla.vla.contracts import STILL_ACTION, Array


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayJob:
    """Which demonstration to replay."""

    demo: StoredDemo
    image_size: int
    geometry: bool = False  # with labels of what the pictures' cells show

    @property
    def task_id(self) -> int:
        """Number of its task in the suite."""
        return self.demo.task.task_id

    def run(self, env: LiberoEnv) -> Outcome:
        """As `replay`."""
        return replay(env, self)


def make_replays(
    *,
    hdf5: str | Path,
    out: str | Path,
    image_size: int = 256,
    num_workers: int = 2,
    geometry: bool = False,
    video: bool = False,
    overwrite: bool = False,
    skip_failed: bool = False,
    launcher: str = "local",
) -> DemosReport:
    """Replays every demonstration of a folder; those that do not end in success are left out and counted.

    Args:
        hdf5: folder of one suite's `<task>_demo.hdf5` files.
        out: the data set's folder.
        image_size: height and width of both pictures in pixels.
        num_workers: processes that simulate and draw; with Ray, over the whole cluster.
        geometry: also store labels of what the cells of the pictures show (`envs/cells.py`).
        video: store videos instead of PNG pictures.
        overwrite: replace a data set of other settings at `out`, finished or not.
        skip_failed: write the data set without the tasks of which no replay succeeded.
        launcher: "local" or "ray".

    Raises:
        FailedTasks: no replay of a task succeeded; a ValueError.
        ValueError: for files that are not LIBERO's, an argument out of range, an `out` of other settings or in use.
        OSError: the disk is full; finished episodes stay and the same call goes on from there.
    """
    check_least(num_workers=(num_workers, 1), image_size=(image_size, 16))
    demos = read_demos(hdf5)
    suite = demos[0].task.suite
    assets = find_assets(suite)
    settings: dict[str, Any] = {"suite": suite, "hdf5": sorted({demo.source.split("/")[0] for demo in demos})}
    settings |= {"hdf5_content": _fingerprint(demos), "image_size": image_size, "video": video, "assets": assets.kind}
    if geometry:
        settings |= {"geometry": True}
    jobs = [ReplayJob(demo=demo, image_size=image_size, geometry=geometry) for demo in demos]
    plan = Plan(suite=suite, jobs=jobs, settings=settings, assets=assets, video=video, drop_failures=True)
    return collect(
        plan, out=out, num_workers=num_workers, launcher=launcher, overwrite=overwrite, skip_failed=skip_failed
    )


def replay(env: LiberoEnv, job: ReplayJob) -> Outcome:
    """Executes the demonstration's actions and records their frames; a failure unless the goal holds at the end."""
    simulator, demo = env.simulator, job.demo
    simulator.reset(seed=0, state=demo.state)
    for _ in range(SETTLE_STEPS):
        raw = simulator.step(np.array(STILL_ACTION))
    frames = Recorder(simulator)
    steps = 0
    for action in demo.actions:
        if _does_nothing(action, previous=frames.last_action):
            continue
        frames.add(state_vector(raw), action.astype(np.float32))
        raw = simulator.step(action)
        steps += 1
    if not (steps and simulator.success()):
        return Failure(
            task_id=job.task_id, tries=1, reason=f"{demo.source} does not reach the goal", film=frames.film()
        )
    labels, classes = frames.label() if job.geometry else ({}, ())
    return Recording(
        task=env.task.language,
        task_id=job.task_id,
        init_state=None,
        tries=1,
        steps=steps,
        states=frames.states,
        actions=frames.actions,
        images=frames.draw(size=job.image_size),
        labels=labels,
        classes=classes,
        source=demo.source,
    )


def _does_nothing(action: Array, *, previous: Array | None) -> bool:
    """As `is_no_op`, but for a first action only its motion counts, as OpenVLA has it."""
    return is_no_op(action, previous=action if previous is None else previous)


def _fingerprint(demos: Sequence[StoredDemo]) -> str:
    digest = hashlib.sha256()
    for demo in demos:
        digest.update(demo.source.encode() + demo.state.tobytes() + demo.actions.tobytes())
    return digest.hexdigest()[:16]
