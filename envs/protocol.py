"""Evaluation protocols as data: what published LIBERO numbers were measured under, and how a run differs from it.

The values stand in `configs/protocols`, one yaml each, with their source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vst_vla.envs.suites import HORIZONS
from vst_vla.vla.contracts import unknown_name


@dataclass(frozen=True, kw_only=True)
class EvalProtocol:
    """The rules of an evaluation.

    Args:
        name: that of its yaml.
        source: where the rules are written down.
        trials: episodes of each task; trial i starts from the official initial state i.
        horizons: control steps after settling before an episode is cut, by suite; None for those of `suites.py`.
        settle_steps: control steps without motion before the policy sees the scene.
        image_size: pixels of the pictures as they are drawn.
        env_seed: seed of the simulator's own generator, which places what an initial state does not hold (fixtures).
        env_seed_step: what is added to it from one trial to the next.
        replan: actions executed of every chunk, None where that is the policy's choice.
        whole_suite: whether a result is that of all tasks of a suite.
        assets: the kind that its numbers were measured with, None where any will do.
        notes: what differs whatever the settings.

    Raises:
        ValueError: for numbers that no run can have.
    """

    name: str
    source: str
    trials: int
    horizons: Mapping[str, int] | None
    settle_steps: int
    image_size: int
    env_seed: int
    env_seed_step: int = 0
    replan: int | None = None
    whole_suite: bool = True
    assets: str | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, least in {
            "trials": 1,
            "settle_steps": 0,
            "image_size": 16,
            "env_seed": 0,
            "env_seed_step": 0,
        }.items():
            if getattr(self, name) < least:
                raise ValueError(f"protocol.{name} is {getattr(self, name)}, expected at least {least}")

    def horizon(self, suite: str) -> int:
        """Control steps of the suite's episodes. Raises ValueError for a suite that the protocol does not have."""
        horizons = HORIZONS if self.horizons is None else self.horizons
        if suite not in horizons:
            raise unknown_name(f"suite of protocol {self.name}", suite, horizons)
        return horizons[suite]

    def seed_of(self, trial: int) -> int:
        """The simulator's seed in an episode from initial state number `trial`."""
        return self.env_seed + self.env_seed_step * trial


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Under what a run's episodes were measured, to be held against a protocol.

    Args:
        suite: a LIBERO suite.
        task_ids: numbers of the tasks that were run.
        num_tasks: how many the suite has.
        init_states: numbers of the initial states, those of every task.
        max_steps: control steps before an episode was cut.
        settle_steps: control steps before the first action.
        image_size: pixels of the pictures.
        env_seed: the simulator's seed in the first trial.
        execute: actions executed of every chunk.
        assets: kind of the assets.
        axes: along which scenes were changed; none for the official ones.
    """

    suite: str
    task_ids: Sequence[int]
    num_tasks: int
    init_states: Sequence[int]
    max_steps: int
    settle_steps: int
    image_size: int
    env_seed: int
    execute: int
    assets: str
    axes: Sequence[str] = ()


def deviations(protocol: EvalProtocol, conditions: Conditions) -> list[str]:
    """Everything in which a run differs from its protocol, one phrase each; none for a run that follows it."""
    found = []
    if protocol.whole_suite and len(conditions.task_ids) < conditions.num_tasks:
        found.append(f"{len(conditions.task_ids)} of {conditions.num_tasks} tasks")
    if list(conditions.init_states) != list(range(protocol.trials)):
        found.append(_states(conditions.init_states, protocol.trials))
    wanted = {
        "max_steps": protocol.horizon(conditions.suite),
        "settle_steps": protocol.settle_steps,
        "image_size": protocol.image_size,
        "env_seed": protocol.env_seed,
        "execute": protocol.replan,
        "assets": protocol.assets,
    }
    for name, value in wanted.items():
        given = getattr(conditions, name)
        if value is not None and given != value:
            found.append(f"{_SPOKEN[name]} {given} instead of {value}")
    if conditions.axes:
        found.append(f"scenes changed along {', '.join(conditions.axes)}")
    return found


_SPOKEN = {
    "max_steps": "control steps",
    "settle_steps": "settling steps",
    "image_size": "pixels",
    "env_seed": "simulator seed",
    "execute": "executed actions",
    "assets": "assets",
}


def _states(states: Sequence[int], trials: int) -> str:
    if list(states) == list(range(len(states))):
        return f"{len(states)} trials a task instead of {trials}"
    return f"initial states {', '.join(map(str, states))} instead of 0 to {trials - 1}"
