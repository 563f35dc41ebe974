"""What a question dataset is made of, and how the work is cut into shards: by its settings alone."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from vst_vla.envs.qa import FAMILIES, make_family
from vst_vla.envs.simulator import CAMERAS
from vst_vla.envs.suites import get_task, init_states
from vst_vla.vla.contracts import unknown_name

FORMAT_VERSION = 1
"""Raised whenever equal settings come to give other bytes."""


@dataclass(frozen=True, kw_only=True)
class QASettings:
    """What a dataset is made of; equal settings give equal bytes. Fields as in `make_qa`."""

    suite: str
    task_ids: tuple[int, ...]
    num_items: int
    families: tuple[tuple[str, float], ...]
    seed: int
    image_size: int
    mirror: bool
    short_prompt: bool
    cameras: tuple[str, ...]
    items_per_scene: int
    shard_size: int
    init_states: tuple[int, ...]
    assets: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: lists for tuples."""
        values = asdict(self) | {"families": dict(self.families), "format_version": FORMAT_VERSION}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file's share of the work."""

    number: int
    task_id: int
    num_items: int


def check_settings(settings: QASettings) -> None:
    """Raises ValueError naming the first setting that cannot be."""
    _check_numbers(settings)
    _check_families(settings)
    _check_scenes(settings)


def _check_numbers(settings: QASettings) -> None:
    for name, low in (("num_items", 1), ("image_size", 32), ("items_per_scene", 1), ("shard_size", 1), ("seed", 0)):
        value = getattr(settings, name)
        if not isinstance(value, int) or value < low:
            raise ValueError(f"{name} {value} is out of range: give a whole number of at least {low}")


def _check_families(settings: QASettings) -> None:
    if not settings.families:
        raise ValueError(f"families is empty: give at least one of {', '.join(FAMILIES)}")
    for name, weight in settings.families:
        make_family(name)
        if not 0 < weight < math.inf:
            raise ValueError(f"family '{name}' has weight {weight}: give a positive number, or leave the family out")


def _check_scenes(settings: QASettings) -> None:
    for name in ("task_ids", "cameras", "init_states"):
        if not getattr(settings, name):
            raise ValueError(f"{name} is empty: give at least one")
    for camera in settings.cameras:
        if camera not in CAMERAS:
            raise unknown_name("camera", camera, CAMERAS)
    for task_id in settings.task_ids:
        available = len(init_states(get_task(settings.suite, task_id=task_id)))
        for state in settings.init_states:
            if not 0 <= state < available:
                raise ValueError(f"init_state {state} is out of range: task {task_id} has 0 to {available - 1}")


def plan_shards(settings: QASettings) -> list[Shard]:
    """The shards: items spread evenly over tasks, each task's share cut into files of at most `shard_size`."""
    tasks = settings.task_ids[: settings.num_items]
    shards: list[Shard] = []
    for place, task_id in enumerate(tasks):
        share = _share(settings.num_items, len(tasks), place)
        pieces = math.ceil(share / settings.shard_size)
        for piece in range(pieces):
            size = _share(share, pieces, piece)
            shards.append(Shard(number=len(shards), task_id=task_id, num_items=size))
    return shards


def _share(total: int, parts: int, place: int) -> int:
    """Part `place` of a whole number cut into nearly equal parts."""
    return total // parts + (place < total % parts)
