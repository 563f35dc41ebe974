"""Which episodes an evaluation consists of, and how they are run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vst_vla.envs.assets import Assets
from vst_vla.envs.perturb.perturbation import Perturbation
from vst_vla.envs.protocol import Conditions, EvalProtocol, deviations
from vst_vla.envs.record import EpisodeKey, RunIdentity
from vst_vla.envs.suites import SETTLE_STEPS, Task, get_task, init_state, num_tasks
from vst_vla.vla.contracts import unknown_name

VIDEO_MODES = ("off", "chunk", "full")
SMALLEST = {"num_envs": 1, "execute": 1, "image_size": 16, "video_size": 16, "num_videos": 0}


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How the scenes of some episodes differ from the official ones; not at all without axes.

    Raises:
        ValueError: for an unknown or repeated axis, or a strength out of range.
    """

    axes: tuple[str, ...] = ()
    strength: float = 0.0

    def __post_init__(self) -> None:
        self.perturbation(0)

    def perturbation(self, *seed: int) -> Perturbation | None:
        """What an episode's scene is asked to be, None for the official one."""
        return Perturbation(axes=self.axes, seed=seed, strength=self.strength) if self.axes else None


OFFICIAL = Variation()


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """Which episodes to run and how.

    Args:
        suite: a LIBERO suite.
        task_ids: numbers of its tasks.
        init_states: numbers of the official initial states, the same for every task.
        protocol: the rules to follow; None for the suite's own horizon and ten settling steps.
        only: pairs of task and initial state; no other is run. None for all.
        variations: every task and initial state is run in each of these.
        num_envs: worker processes N.
        image_size: pixels of the policy's pictures.
        execute: actions executed of every chunk before the policy is asked again.
        exact: infer each observation by itself, which gives the same records to the bit for any number of workers;
            otherwise all running episodes are inferred in one batch, which is faster on a GPU.
        seed: seed of the policy's draws and of the variations.
        max_steps: control steps before an episode is cut, None for the horizon (it is never longer).
        video: "off"; "chunk": the policy's own view, one frame a chunk, of every episode; "full": the same, but of the
            first `num_videos` episodes of each task every control step, which is drawn for it.
        num_videos: see `video`.
        video_size: pixels of a "full" video.
        policy: the policy's name in records.
        checkpoint: hash of its files in records, "" when it has none.
        render_device: GPU number for the renderer, -1 for the default.

    Raises:
        ValueError: for anything that names no task, initial state or mode, before a worker starts.
    """

    suite: str
    task_ids: tuple[int, ...]
    init_states: tuple[int, ...]
    protocol: EvalProtocol | None = None
    only: tuple[tuple[int, int], ...] | None = None
    variations: tuple[Variation, ...] = field(default=(OFFICIAL,))
    num_envs: int = 2
    image_size: int = 256
    execute: int = 8
    exact: bool = True
    seed: int = 0
    max_steps: int | None = None
    video: str = "full"
    num_videos: int = 4
    video_size: int = 256
    policy: str = "policy"
    checkpoint: str = ""
    render_device: int = -1

    def __post_init__(self) -> None:
        if self.video not in VIDEO_MODES:
            raise unknown_name("video mode", self.video, VIDEO_MODES)
        for name, least in SMALLEST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps is {self.max_steps}, expected at least 1, or none for the suite's horizon")
        for name in ("task_ids", "init_states", "variations"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: name at least one")
        for task in self.tasks:
            for index in self.init_states:
                init_state(task, index=index)
        if not self.keys:
            raise ValueError("the policy can act in none of these tasks and initial states: name others")

    @property
    def tasks(self) -> list[Task]:
        """The tasks in the order given, each once."""
        return [get_task(self.suite, task_id=task_id) for task_id in dict.fromkeys(self.task_ids)]

    @property
    def horizon(self) -> int:
        """Control steps before an episode is cut."""
        full = self.protocol.horizon(self.suite) if self.protocol else self.tasks[0].horizon
        return full if self.max_steps is None else min(self.max_steps, full)

    @property
    def settle_steps(self) -> int:
        """Control steps before the first action."""
        return self.protocol.settle_steps if self.protocol else SETTLE_STEPS

    def seed_of(self, init_state: int) -> int:
        """The simulator's seed in an episode."""
        return self.protocol.seed_of(init_state) if self.protocol else 0

    @property
    def keys(self) -> list[EpisodeKey]:
        """Every episode's name, each once: all of a task before the next one."""
        return [
            (task.task_id, index, variation.axes, variation.strength)
            for task in self.tasks
            for variation in dict.fromkeys(self.variations)
            for index in dict.fromkeys(self.init_states)
            if self.only is None or (task.task_id, index) in self.only
        ]

    def identity(self, *, assets: Assets) -> RunIdentity:
        """What records of this run have in common."""
        return RunIdentity(
            suite=self.suite,
            policy=self.policy,
            checkpoint=self.checkpoint,
            assets=assets.kind,
            protocol=self.protocol.name if self.protocol else "",
            seed=self.seed,
            env_seed=self.seed_of(0),
            image_size=self.image_size,
            execute=self.execute,
            max_steps=self.horizon,
            settle_steps=self.settle_steps,
        )


def protocol_report(protocol: EvalProtocol, keys: list[EpisodeKey], *, run: RunIdentity) -> dict[str, Any]:
    """For a report: the protocol's name, its source, what differs from it in these episodes, and its notes."""
    conditions = Conditions(
        suite=run.suite,
        task_ids=sorted({key[0] for key in keys}),
        num_tasks=num_tasks(run.suite),
        init_states=sorted({key[1] for key in keys}),
        max_steps=run.max_steps,
        settle_steps=run.settle_steps,
        image_size=run.image_size,
        env_seed=run.env_seed,
        execute=run.execute,
        assets=run.assets,
        axes=sorted({axis for key in keys for axis in key[2]}),
    )
    return {
        "name": protocol.name,
        "source": protocol.source,
        "deviations": deviations(protocol, conditions),
        "notes": list(protocol.notes),
    }
