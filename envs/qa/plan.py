"""What a question dataset is made of, and how the work is cut into shards: by its settings alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vst_vla.envs.qa import FAMILIES, family_class
from vst_vla.envs.qa.base import LEVELS, takes_clips, thinks
from vst_vla.envs.qa.stage import Shot
from vst_vla.envs.simulator import CAMERAS
from vst_vla.envs.suites import get_task, init_states
from vst_vla.vla.contracts import Array, unknown_name

FORMAT_VERSION = 12
"""Raised whenever equal settings come to give other bytes."""


@dataclass(frozen=True, kw_only=True)
class QASettings:
    """What a dataset is made of; equal settings give equal bytes. Fields as in `make_qa`."""

    tasks: tuple[tuple[str, int], ...]  # suite, task number
    num_items: int
    families: tuple[tuple[str, float], ...]
    seed: int
    image_size: int
    mirror: bool
    short_prompt: bool
    cameras: tuple[str, ...]
    extra_views: int
    episodes: str  # who plays them; empty for nobody
    episode_share: float
    items_per_scene: int
    items_per_clip: int
    shard_size: int
    init_states: tuple[int, ...]
    bird_views: bool = False
    geometry: bool = False
    points: bool = False
    invented_names: float = 0.0
    varied_looks: float = 0.0
    teacher: str = ""  # the model that writes thoughts; empty for none
    assets: str = ""

    @property
    def shot(self) -> Shot:
        """How scenes are pictured."""
        return Shot(
            cameras=self.cameras,
            extra_views=self.extra_views,
            image_size=self.image_size,
            mirror=self.mirror,
            init_states=self.init_states,
            varied_looks=self.varied_looks,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON gives it back: lists for tuples."""
        values = asdict(self) | {"families": dict(self.families), "format_version": FORMAT_VERSION}
        return dict(json.loads(json.dumps(values)))


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file's share of the work."""

    number: int
    suite: str
    task_id: int
    wanted: tuple[tuple[str, int], ...]  # family -> how many items

    @property
    def num_items(self) -> int:
        """Rows of the file."""
        return sum(count for _, count in self.wanted)


def choose_families(
    mixture: Mapping[str, float], *, families: Sequence[str] | None, levels: Sequence[str] | None
) -> tuple[tuple[str, float], ...]:
    """The mixture's families with their weights, those of weight 0 left out.

    Args:
        mixture: family -> weight.
        families: only these; all of the mixture when not given.
        levels: only families of these levels; all when not given.

    Raises:
        ValueError: an unknown family or level, a weight that is no number of at least 0, a family without weight, or
            nothing left.
    """
    for name, weight in mixture.items():
        family_class(name)
        if not 0 <= weight < math.inf:
            raise ValueError(f"family '{name}' has weight {weight}: give a positive number, or 0 to leave it out")
    for level in levels or ():
        if level not in LEVELS:
            raise unknown_name("level", level, LEVELS)
    for name in families or ():
        family_class(name)
        if not mixture.get(name):
            raise ValueError(f"family '{name}' has no weight in this mixture: give mixture.{name}=1")
    chosen = [(name, float(weight)) for name, weight in mixture.items() if weight > 0]
    chosen = [pair for pair in chosen if families is None or pair[0] in families]
    chosen = [pair for pair in chosen if levels is None or FAMILIES[pair[0]].level in levels]
    if not chosen:
        raise ValueError(f"no family is left: families {families}, levels {levels}, mixture {dict(mixture)}")
    return tuple(chosen)


def check_settings(settings: QASettings) -> None:
    """Raises ValueError naming the first setting that cannot be."""
    _check_numbers(settings)
    _check_scenes(settings)
    if (settings.teacher or settings.bird_views) and not any(thinks(FAMILIES[name]) for name, _ in settings.families):
        raise ValueError("teacher and bird_views are about reasoning, but no family reasons: give mixture=vst_r")
    if settings.invented_names:
        _check_invented(settings)
    if settings.episodes:
        return
    for name, _ in settings.families:
        if takes_clips(FAMILIES[name]):
            raise ValueError(f"family '{name}' asks about episodes, but nobody plays them: give episodes=expert")
    if settings.episode_share:
        raise ValueError(f"episode_share is {settings.episode_share}, but nobody plays episodes: give episodes=expert")


def _check_invented(settings: QASettings) -> None:
    if not settings.points:
        raise ValueError(
            f"invented_names is {settings.invented_names}, which nobody can tell apart unless they are pointed at: "
            "give points=true"
        )
    if settings.teacher or settings.bird_views:
        raise ValueError("invented_names cannot go with a teacher or bird_views, which call objects what they are")


def _check_numbers(settings: QASettings) -> None:
    lows = {"num_items": 1, "image_size": 32, "extra_views": 0, "items_per_scene": 1, "items_per_clip": 1}
    for name, low in (lows | {"shard_size": 1, "seed": 0}).items():
        value = getattr(settings, name)
        if not isinstance(value, int) or value < low:
            raise ValueError(f"{name} {value} is out of range: give a whole number of at least {low}")
    if settings.image_size % 2:
        raise ValueError(f"image_size {settings.image_size} is odd: give an even number, which videos need")
    for name in ("episode_share", "invented_names", "varied_looks"):
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} {getattr(settings, name)} is out of range: give a number from 0 to 1")


def _check_scenes(settings: QASettings) -> None:
    if not settings.tasks:
        raise ValueError("there is no task: give at least one suite, and for task_ids at least one number or null")
    if not settings.init_states:
        raise ValueError("init_states is empty: give at least one")
    if not settings.cameras and not settings.extra_views:
        raise ValueError("cameras is empty and extra_views is 0: give at least one camera")
    for camera in settings.cameras:
        if camera not in CAMERAS:
            raise unknown_name("camera", camera, CAMERAS)
    for suite, task_id in settings.tasks:
        available = len(init_states(get_task(suite, task_id=task_id)))
        for state in settings.init_states:
            if not 0 <= state < available:
                raise ValueError(f"init_state {state} is out of range: task {task_id} has 0 to {available - 1}")


def plan_shards(settings: QASettings) -> list[Shard]:
    """The shards: items spread evenly over tasks, each task's share cut into files of at most `shard_size`.

    Families keep the weights' proportions over the whole dataset, so that rare ones are not rounded away. Questions
    about clips come in groups of `items_per_clip`, each group in one shard, since a clip costs many pictures.
    """
    slots = _slots(settings)
    counts = _family_counts(settings)
    table = _deal(settings, counts, [size for *_, size in slots])
    names = [name for name, _ in settings.families]
    return [
        Shard(
            number=number,
            suite=suite,
            task_id=task_id,
            wanted=tuple((name, int(count)) for name, count in zip(names, row, strict=True) if count),
        )
        for number, ((suite, task_id, _), row) in enumerate(zip(slots, table, strict=True))
    ]


def _slots(settings: QASettings) -> list[tuple[str, int, int]]:
    """Suite, task and size of every shard."""
    tasks = settings.tasks[: settings.num_items]
    slots: list[tuple[str, int, int]] = []
    for place, (suite, task_id) in enumerate(tasks):
        share = _share(settings.num_items, len(tasks), place)
        pieces = math.ceil(share / settings.shard_size)
        slots += [(suite, task_id, _share(share, pieces, piece)) for piece in range(pieces)]
    return slots


def _share(total: int, parts: int, place: int) -> int:
    """Part `place` of a whole number cut into nearly equal parts."""
    return total // parts + (place < total % parts)


def _family_counts(settings: QASettings) -> Array:
    """Items of each family, in the weights' proportions; the largest remainders round up."""
    weights = np.array([weight for _, weight in settings.families], dtype=np.float64)
    exact = settings.num_items * weights / weights.sum()
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: settings.num_items - whole.sum()]] += 1
    return whole


def _deal(settings: QASettings, counts: Array, sizes: list[int]) -> Array:
    """Items of each family in each shard, (shards, families): groups of clip questions first, the rest at random."""
    rng = np.random.default_rng([settings.seed, len(sizes)])
    table = np.zeros((len(sizes), len(counts)), dtype=int)
    is_clip = np.array([takes_clips(FAMILIES[name]) for name, _ in settings.families])
    clip_items = rng.permutation(np.repeat(np.flatnonzero(is_clip), counts[is_clip]))
    scene_items = rng.permutation(np.repeat(np.flatnonzero(~is_clip), counts[~is_clip]))
    room = np.array(sizes)
    shard_order = rng.permutation(len(sizes))
    place = 0
    while len(clip_items):
        shard = shard_order[place % len(sizes)]
        group = clip_items[: min(settings.items_per_clip, room[shard])]
        np.add.at(table[shard], group, 1)
        clip_items, room[shard], place = clip_items[len(group) :], room[shard] - len(group), place + 1
    for shard, part in enumerate(np.split(scene_items, np.cumsum(room)[:-1])):
        np.add.at(table[shard], part, 1)
    return table
