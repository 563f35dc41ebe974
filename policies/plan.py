"""What a data set of demonstrations is to be made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vst_vla.envs.assets import Assets
from vst_vla.envs.suites import get_task
from vst_vla.policies.recording import Job


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A data set to be made.

    Args:
        suite: LIBERO suite of all its tasks.
        jobs: its episodes, in order.
        settings: all that fixes their content, as JSON values; compared with those of a data set that is there.
        assets: what the scenes are drawn with.
        video: store videos instead of PNG pictures.
        drop_failures: a failed episode is left out of its task; otherwise it fails the task.
    """

    suite: str
    jobs: Sequence[Job]
    settings: dict[str, Any]
    assets: Assets
    video: bool
    drop_failures: bool

    @property
    def tasks(self) -> list[int]:
        """Numbers of the tasks, in order."""
        return list(dict.fromkeys(job.task_id for job in self.jobs))

    def sentence(self, task: int) -> str:
        """A task's instruction."""
        return get_task(self.suite, task_id=task).language
