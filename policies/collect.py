"""From a plan to a data set: run what is missing, keep what is finished, write the whole; resumable after any kill.

Finished episodes wait in `OUT.partial`; the data set appears at `OUT` when it is complete.
"""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vst_vla.policies.demo_dataset import read_record, write_demos
from vst_vla.policies.plan import Plan
from vst_vla.policies.progress import EpisodeProgress
from vst_vla.policies.recording import Failure, Outcome
from vst_vla.policies.staging import Staging, first_difference
from vst_vla.policies.workers import Launcher, Numbered, run_local, run_on_ray
from vst_vla.vla.contracts import unknown_name

LAUNCHERS: dict[str, Launcher] = {"local": run_local, "ray": run_on_ray}


@dataclass(frozen=True, kw_only=True)
class DemosReport:
    """What was done."""

    folder: Path
    num_episodes: int
    num_frames: int
    success_rate: float  # of the episodes that were run
    failed_tasks: tuple[int, ...]  # left out of the data set
    assets: str
    wall_s: float
    reused: bool  # the data set was complete already


class FailedTasks(ValueError):
    """Some tasks have no demonstrations; those of the others are safe."""


def collect(
    plan: Plan, *, out: str | Path, num_workers: int, launcher: str, overwrite: bool, skip_failed: bool
) -> DemosReport:
    """Makes the data set, or goes on with it, or finds it complete.

    Args:
        plan: what to make.
        out: its folder.
        num_workers: episodes that run at a time.
        launcher: a key of `LAUNCHERS`.
        overwrite: replace a data set of other settings at `out`, finished or not.
        skip_failed: write the data set without the tasks that failed.

    Raises:
        FailedTasks: a task failed, after all others were finished.
        ValueError: an `out` of other settings, or one in use by another process; an unknown launcher.
        OSError: the disk is full or a worker was killed; finished episodes stay and the same call goes on from there.
    """
    start = time.perf_counter()
    if launcher not in LAUNCHERS:
        raise unknown_name("launcher", launcher, LAUNCHERS)
    folder = Path(out).expanduser()
    difference = first_difference(plan.settings, _settings_of(folder)) if folder.exists() else None
    if folder.exists() and not difference:
        return _report(folder, start, reused=True)
    if difference and not overwrite:
        raise ValueError(f"'{folder}' exists with {difference}: choose another out=, or replace it with overwrite=true")
    staging = Staging(folder.with_name(folder.name + ".partial"))
    with staging.open(plan.settings, restart=overwrite), _full_disk_explained(staging):
        if not (plan.drop_failures or skip_failed):
            staging.forget_failures()  # they are tried again
        _run_missing(staging, plan, launcher=LAUNCHERS[launcher], num_workers=num_workers)
        failed = _failed_tasks(staging, plan)
        if failed and not (skip_failed and len(failed) < len(plan.tasks)):
            raise FailedTasks(_explain(failed, staging, plan))
        write_demos(staging, plan, folder=folder, failed=failed, overwrite=overwrite)
        staging.remove()
    return _report(folder, start, reused=False)


def _settings_of(folder: Path) -> dict[str, Any]:
    """Those of a finished data set; a folder of anything else is never touched."""
    try:
        return dict(read_record(folder)["settings"])
    except ValueError as error:
        raise ValueError(f"{error}; choose another out=") from error


def _report(folder: Path, start: float, *, reused: bool) -> DemosReport:
    made = read_record(folder)
    return DemosReport(
        folder=folder,
        num_episodes=len(made["episodes"]),
        num_frames=sum(episode["frames"] for episode in made["episodes"]),
        success_rate=made["expert_success_rate"] if "expert_success_rate" in made else made["replay_success_rate"],
        failed_tasks=tuple(map(int, made.get("failed_tasks", {}))),
        assets=made["assets"],
        wall_s=time.perf_counter() - start,
        reused=reused,
    )


@contextmanager
def _full_disk_explained(staging: Staging) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"the disk is full: {staging.count()} finished episodes are safe in '{staging.folder}'; free some space "
            "and run the same command again"
        ) from error


def _run_missing(staging: Staging, plan: Plan, *, launcher: Launcher, num_workers: int) -> None:
    """Runs the jobs that are neither staged nor known to fail."""
    given_up = set() if plan.drop_failures else {failure.task_id for failure in staging.failures().values()}
    missing = _missing(staging, plan, given_up)
    if not missing:
        return
    runner = launcher(
        (numbered for numbered in missing if numbered[1].task_id not in given_up),
        suite=plan.suite,
        assets=plan.assets,
        num_workers=min(num_workers, len(missing)),
    )
    with closing(runner), closing(_progress(plan, missing)) as progress:
        for index, job, outcome in runner:
            _keep(staging, index, outcome)
            progress.add(job.task_id, failed=isinstance(outcome, Failure))
            if isinstance(outcome, Failure) and not plan.drop_failures and job.task_id not in given_up:
                given_up.add(job.task_id)
                progress.give_up(job.task_id, outcome.reason)


def _missing(staging: Staging, plan: Plan, given_up: Set[int]) -> list[Numbered]:
    known = staging.failures()
    return [
        (index, job)
        for index, job in enumerate(plan.jobs)
        if not (staging.has(index) or index in known or job.task_id in given_up)
    ]


def _keep(staging: Staging, index: int, outcome: Outcome) -> None:
    if isinstance(outcome, Failure):
        staging.put_failure(index, outcome)
    else:
        staging.put(index, outcome)


def _progress(plan: Plan, missing: Sequence[Numbered]) -> EpisodeProgress:
    wanted = Counter(job.task_id for job in plan.jobs)
    done = wanted - Counter(job.task_id for _, job in missing)
    return EpisodeProgress(wanted, done=done, names={task: plan.sentence(task) for task in wanted})


def _failed_tasks(staging: Staging, plan: Plan) -> dict[int, str]:
    """Task -> how often its episodes succeeded and why the last one did not."""
    failures = staging.failures()
    failed: dict[int, str] = {}
    for task in plan.tasks:
        indices = [index for index, job in enumerate(plan.jobs) if job.task_id == task]
        lost = [failures[index] for index in indices if index in failures]
        finished = [index for index in indices if staging.has(index)]
        if lost and not (plan.drop_failures and finished):
            tries = sum(staging.tries(index) for index in finished) + sum(failure.tries for failure in lost)
            failed[task] = f"{len(finished)} of {tries} episodes succeeded; {lost[-1].reason}"
    return failed


def _explain(failed: Mapping[int, str], staging: Staging, plan: Plan) -> str:
    each = "; ".join(f"task {task} '{plan.sentence(task)}': {why}" for task, why in failed.items())
    return (
        f"{len(failed)} of {len(plan.tasks)} tasks failed: {each}. {staging.count()} finished episodes are safe, films "
        f"of the failures are in '{staging.films}': run again to retry, or write the data set without these tasks "
        "with skip_failed=true"
    )
