"""Makes a dataset of spatial questions out of simulated scenes, as VST parquet shards with a manifest.

The work is split into shards by the settings alone. A shard has one task, its own random generator and its own scenes,
so its bytes depend neither on the number of workers nor on what was made before; a run that was cut short makes the
missing shards only.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.heap import trim_heap
from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.bird_view import bird_view
from vst_vla.envs.qa.cells import SceneCells
from vst_vla.envs.qa.encoding import Encoder, encode_png
from vst_vla.envs.qa.interview import Interview
from vst_vla.envs.qa.launchers import LAUNCHERS
from vst_vla.envs.qa.layout import layout_of
from vst_vla.envs.qa.plan import QASettings, Shard, check_settings, choose_families, plan_shards
from vst_vla.envs.qa.shards import (
    MANIFEST,
    claim,
    count_kinds,
    count_replies,
    is_whole,
    shard_bytes,
    shard_path,
    write_shard,
)
from vst_vla.envs.qa.stage import EpisodeSource, Stage
from vst_vla.envs.qa.teacher import Teacher
from vst_vla.envs.qa.teacher_endpoint import Endpoint
from vst_vla.envs.simulator import CAMERAS
from vst_vla.envs.suites import NUM_EVAL_STATES, num_tasks
from vst_vla.vla.contracts import SceneState, unknown_name
from vst_vla.vla.files import write_json


def make_qa(
    out: str | Path,
    *,
    mixture: Mapping[str, float],
    suite: str | Sequence[str] = "libero_object",
    task_ids: Sequence[int] | None = None,
    num_items: int = 2000,
    families: Sequence[str] | None = None,
    levels: Sequence[str] | None = None,
    seed: int = 0,
    image_size: int = 256,
    num_workers: int = 2,
    launcher: str = "local",
    mirror: bool = True,
    short_prompt: bool = False,
    cameras: Sequence[str] = CAMERAS,
    extra_views: int = 0,
    episodes: EpisodeSource | None = None,
    episode_share: float = 0.0,
    items_per_scene: int = 32,
    items_per_clip: int = 24,
    shard_size: int = 256,
    init_states: Sequence[int] | None = None,
    bird_views: bool = False,
    geometry: bool = False,
    points: bool = False,
    invented_names: float = 0.0,
    varied_looks: float = 0.0,
    teacher: Teacher | None = None,
    assets: Assets | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `part-00000.parquet` and so on, and `manifest.json`, into the folder `out`; returns the manifest.

    Args:
        out: the dataset's folder; a run with the same settings is taken up where it stopped.
        mixture: family -> weight; 0 leaves a family out.
        suite: LIBERO suite, or several.
        task_ids: tasks of each suite by number; all when not given. Items are spread evenly over them.
        num_items: questions in total.
        families: only these of the mixture; all of it when not given.
        levels: only families of these levels, such as L0 and L1; all when not given.
        seed: of everything random.
        image_size: height and width of the pictures in pixels.
        num_workers: processes; the result does not depend on it.
        launcher: "local", or "ray" for a cluster.
        mirror: pictures as the policies see them, or physical (see `envs/scene.py`).
        short_prompt: one-line questions, for tiny backbones.
        cameras: MuJoCo names of the policies' cameras asked about.
        extra_views: cameras put around the work area, anew for each scene.
        episodes: who plays episodes, a function of a module; without it, no family may ask about clips.
        episode_share: fraction of the scenes that are moments of episodes; the others are rearranged initial states.
        items_per_scene: most questions about one scene.
        items_per_clip: most questions about one clip.
        shard_size: most rows of one file.
        init_states: official initial states that scenes start from; 20 to 49, which evaluation does not use, when not
            given.
        bird_views: a further column with the bird's-eye view of every reasoning item.
        geometry: labels of what the cells of every picture show, films excepted (`qa.cells`).
        points: every object that a question names has a coloured point, "the red-point plate" (`qa.pointed`).
        invented_names: fraction of the scenes and clips whose objects have names that mean nothing (`qa.renamed`).
        varied_looks: fraction of the scenes and clips in another light, before another background (`qa.looks`).
        teacher: writes the thoughts of reasoning items; with one, equal settings no longer give equal bytes.
        assets: LIBERO's assets; looked for when not given.
        progress: show a progress bar.

    Raises:
        ValueError: an unknown suite, task, family, level or camera, a number out of range, a folder that holds a
            dataset of other settings, scenes that allow no question of any family, or a teacher that refuses.
        OSError: the teacher cannot be reached or gives no replies; what is done is kept.
    """
    suites = [suite] if isinstance(suite, str) else list(suite)
    settings = QASettings(
        tasks=tuple((s, t) for s in suites for t in (range(num_tasks(s)) if task_ids is None else task_ids)),
        num_items=num_items,
        families=choose_families(mixture, families=families, levels=levels),
        seed=seed,
        image_size=image_size,
        mirror=mirror,
        short_prompt=short_prompt,
        cameras=tuple(cameras),
        extra_views=extra_views,
        episodes=episodes.__name__ if episodes else "",  # type: ignore[attr-defined]
        episode_share=episode_share,
        items_per_scene=items_per_scene,
        items_per_clip=items_per_clip,
        shard_size=shard_size,
        init_states=tuple(range(NUM_EVAL_STATES, 50) if init_states is None else init_states),
        bird_views=bird_views,
        geometry=geometry,
        points=points,
        invented_names=invented_names,
        varied_looks=varied_looks,
        teacher=teacher.model if teacher else "",
    )
    check_settings(settings)
    if num_workers < 1:
        raise ValueError(f"num_workers {num_workers} is too small: give at least 1")
    if launcher not in LAUNCHERS:
        raise unknown_name("launcher", launcher, LAUNCHERS)
    if teacher:
        Endpoint(teacher).reach()
    assets = assets or _common_assets(suites)
    settings = replace(settings, assets=assets.kind)
    folder = Path(out)
    claim(folder, settings=settings.to_dict())
    shards = plan_shards(settings)
    missing = [s for s in shards if not is_whole(shard_path(folder, number=s.number), rows=s.num_items)]
    given = assets if launcher == "local" else None
    job = partial(make_shard, settings, assets=given, episodes=episodes, teacher=teacher)
    total = sum(shard.num_items for shard in missing)
    with tqdm(total=total, unit="item", desc="qa", disable=not progress or not missing) as bar:
        for shard, content in LAUNCHERS[launcher](job, shards=missing, num_workers=num_workers) if missing else ():
            write_shard(shard_path(folder, number=shard.number), content=content)
            bar.update(shard.num_items)
    return _finish(folder, settings, shards)


def _common_assets(suites: Sequence[str]) -> Assets:
    """The assets of all suites. Raises ValueError when they are not of one kind, which a manifest could not state."""
    found = [find_assets(suite) for suite in suites]
    for suite, assets in zip(suites, found, strict=True):
        if assets.kind != found[0].kind:
            raise ValueError(
                f"{suite} would have {assets.kind} assets, {suites[0]} {found[0].kind} ones: make two datasets"
            )
    return found[0]


def make_shard(
    settings: QASettings,
    shard: Shard,
    *,
    assets: Assets | None,
    episodes: EpisodeSource | None,
    teacher: Teacher | None = None,
) -> bytes:
    """One shard from scene to file; runs in a worker.

    Raises:
        ValueError: the scenes allow no question of any family, this machine's assets are of another kind, or the
            teacher refuses.
        OSError: the teacher does not reply.
    """
    stage = _Workshop.stage(shard.suite, shard.task_id, assets or _local_assets(shard.suite, kind=settings.assets))
    prefix = f"{shard.suite}-{shard.task_id}-{settings.seed}-{shard.number:05d}"
    records: list[dict[str, Any]] = []
    interview = Interview(settings, shard, stage=stage, episodes=episodes, teacher=teacher)
    for asked in interview.run():
        encoder, labels = Encoder(), SceneCells(asked.scenes[0]) if settings.geometry else None
        for item in asked.items:
            name = f"{prefix}-{len(records):04d}"
            cells = labels.of(item) if labels else ()
            row = item.to_record(name=name, data_source=f"vst_vla/{shard.suite}", encoder=encoder, cells=cells)
            if settings.bird_views and item.thinking:
                row["bird_view"] = _bird_view(item, asked.scenes[0], name)
            records.append(row)
    content = shard_bytes(records, bird_views=settings.bird_views, teacher=interview.teacher_counts)
    trim_heap()
    return content


def _bird_view(item: QAItem, scene: SceneState, name: str) -> dict[str, Any]:
    drawing = bird_view(layout_of(item.about, scene=scene))
    return {"bytes": encode_png(drawing), "path": f"{name}_bird_view.png"}


class _Workshop:
    """A worker process's scene: that of the last task it was asked for."""

    _key: tuple[str, int, Assets] | None = None
    _stage: Stage | None = None

    @classmethod
    def stage(cls, suite: str, task_id: int, assets: Assets) -> Stage:
        if cls._stage is None or cls._key != (suite, task_id, assets):
            if cls._stage is not None:
                cls._stage.close()
            cls._stage = None  # before the next one is built: two at a time would double the memory
            cls._stage, cls._key = Stage(suite, task_id=task_id, assets=assets), (suite, task_id, assets)
        return cls._stage


def _local_assets(suite: str, *, kind: str) -> Assets:
    """This machine's assets. Raises ValueError when the run began with another kind."""
    assets = find_assets(suite)
    if assets.kind != kind:
        raise ValueError(
            f"{os.uname().nodename} has {assets.kind} assets, this run began with {kind} ones: give all machines "
            "the same"
        )
    return assets


def _finish(folder: Path, settings: QASettings, shards: list[Shard]) -> dict[str, Any]:
    paths = [shard_path(folder, number=shard.number) for shard in shards]
    counts = count_kinds(paths)
    planned = sum((Counter(dict(shard.wanted)) for shard in shards), Counter[str]())
    manifest = {
        "complete": True,
        "num_items": sum(shard.num_items for shard in shards),
        "num_shards": len(shards),
        "counts": counts,
        "handed_on": dict(sorted((planned - Counter(counts["family"])).items())),
        "assets": settings.assets,
        "settings": settings.to_dict(),
    }
    if replies := count_replies(paths):
        manifest["teacher"] = replies
    write_json(folder / MANIFEST, manifest)
    return manifest
