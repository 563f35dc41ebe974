"""Makes a dataset of spatial questions out of simulated scenes, as VST parquet shards with a manifest.

The work is split into shards by the settings alone. A shard has one task, its own random generator and its own scenes,
so its bytes depend neither on the number of workers nor on what was made before; a run that was cut short makes the
missing shards only. Workers are spawned, one thread each; each keeps to as few tasks as possible, since building a
scene takes seconds.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.base import Family, QAItem
from vst_vla.envs.qa.plan import QASettings, Shard, check_settings, plan_shards
from vst_vla.envs.qa.shards import count_kinds, is_whole, shard_path, write_shard
from vst_vla.envs.qa.variation import Variation
from vst_vla.envs.scene import SceneReader
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.envs.suites import NUM_EVAL_STATES, get_task, init_states, num_tasks
from vst_vla.envs.threads import one_thread_each
from vst_vla.vla.contracts import SceneState
from vst_vla.vla.files import write_json

MANIFEST = "manifest.json"
_BARREN_SCENES = 40  # in a row without one usable question, after which a family is given up


def make_qa(
    out: str | Path,
    *,
    suite: str = "libero_object",
    task_ids: Sequence[int] | None = None,
    num_items: int = 2000,
    families: Mapping[str, float] | None = None,
    seed: int = 0,
    image_size: int = 256,
    num_workers: int = 2,
    mirror: bool = True,
    short_prompt: bool = False,
    cameras: Sequence[str] = CAMERAS,
    items_per_scene: int = 10,
    shard_size: int = 128,
    init_states: Sequence[int] | None = None,
    assets: Assets | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `part-00000.parquet` and so on, and `manifest.json`, into the folder `out`; returns the manifest.

    Args:
        out: the dataset's folder; a run with the same settings is taken up where it stopped.
        suite: LIBERO suite.
        task_ids: its tasks by number; all when not given. Items are spread evenly over them.
        num_items: questions in total.
        families: family name -> weight; detection 0.6 and depth_order 0.4 when not given.
        seed: of everything random.
        image_size: height and width of the pictures in pixels.
        num_workers: processes; the result does not depend on it.
        mirror: pictures as the policies see them, or physical (see `envs/scene.py`).
        short_prompt: one-line questions, for tiny backbones.
        cameras: MuJoCo names of the cameras asked about.
        items_per_scene: questions about one scene before it is rearranged.
        shard_size: most rows of one file.
        init_states: official initial states that scenes start from; 20 to 49, which evaluation does not use, when not
            given.
        assets: LIBERO's assets; looked for when not given.
        progress: show a progress bar.

    Raises:
        ValueError: an unknown suite, task, family or camera, a number out of range, a folder that holds a dataset of
            other settings, or a family of which these scenes allow no question.
    """
    count = num_tasks(suite)
    settings = QASettings(
        suite=suite,
        task_ids=tuple(range(count)) if task_ids is None else tuple(task_ids),
        num_items=num_items,
        families=tuple((families or {"detection": 0.6, "depth_order": 0.4}).items()),
        seed=seed,
        image_size=image_size,
        mirror=mirror,
        short_prompt=short_prompt,
        cameras=tuple(cameras),
        items_per_scene=items_per_scene,
        shard_size=shard_size,
        init_states=tuple(range(NUM_EVAL_STATES, 50) if init_states is None else init_states),
    )
    check_settings(settings)
    if num_workers < 1:
        raise ValueError(f"num_workers {num_workers} is too small: give at least 1")
    assets = assets or find_assets(suite)
    settings = replace(settings, assets=assets.kind)
    folder = Path(out)
    _claim(folder, settings)
    shards = plan_shards(settings)
    missing = [s for s in shards if not is_whole(shard_path(folder, number=s.number), rows=s.num_items)]
    _run(folder, settings, missing, assets=assets, num_workers=num_workers, progress=progress)
    return _finish(folder, settings, shards)


def shard_items(settings: QASettings, shard: Shard, *, assets: Assets) -> list[QAItem]:
    """The items of one shard. Raises ValueError when the scenes allow no question of a family."""
    reader, variation = _stage(settings.suite, shard.task_id, assets)
    rng = np.random.default_rng([settings.seed, shard.number])
    states = init_states(reader.simulator.task)
    families = {name: make_family(name, short_prompt=settings.short_prompt) for name, _ in settings.families}
    wanted = _family_sequence(settings, shard.num_items, rng)
    items: list[QAItem] = []
    barren = 0
    while wanted:
        state = int(rng.choice(settings.init_states))
        variation.apply(states[state], rng=rng)
        scene = reader.capture(
            cameras=settings.cameras,
            size=settings.image_size,
            mirror=settings.mirror,
            source=f"{settings.suite} task {shard.task_id} initial state {state}",
        )
        made = _ask(families, scene, wanted[: settings.items_per_scene], rng)
        for item in made:
            wanted.remove(item.family)
        items += made
        barren = 0 if made else barren + 1
        if barren == _BARREN_SCENES:
            raise ValueError(
                f"{_BARREN_SCENES} scenes of {settings.suite} task {shard.task_id} in a row allow no question of "
                f"family {' or '.join(sorted(set(wanted)))}: leave it out, or use larger pictures or other cameras"
            )
    return items


def _ask(
    families: Mapping[str, Family], scene: SceneState, wanted: list[str], rng: np.random.Generator
) -> list[QAItem]:
    """Items about one scene, as many of each family as `wanted` lists, or fewer."""
    items: list[QAItem] = []
    for name, family in families.items():
        items += family(scene, count=wanted.count(name), rng=rng)
    return items


def _family_sequence(settings: QASettings, count: int, rng: np.random.Generator) -> list[str]:
    """Family names of `count` items in random order, in the weights' proportions (largest remainders round up)."""
    weights = np.array([weight for _, weight in settings.families], dtype=np.float64)
    exact = count * weights / weights.sum()
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: count - whole.sum()]] += 1
    names = np.repeat([name for name, _ in settings.families], whole)
    return [str(name) for name in rng.permutation(names)]


@lru_cache(maxsize=1)
def _stage(suite: str, task_id: int, assets: Assets) -> tuple[SceneReader, Variation]:
    """This process's scene of one task; the previous one is let go."""
    simulator = Simulator(get_task(suite, task_id=task_id), assets=assets)
    reader = SceneReader(simulator)
    return reader, Variation(simulator, objects=reader.objects)


def make_shard(folder: Path, settings: QASettings, shard: Shard, assets: Assets) -> Shard:
    """One shard from scene to file; runs in a worker."""
    source = f"vst_vla/{settings.suite}"
    items = shard_items(settings, shard, assets=assets)
    prefix = f"{settings.suite}-{shard.task_id}-{settings.seed}-{shard.number:05d}"
    records = [item.to_record(name=f"{prefix}-{n:04d}", data_source=source) for n, item in enumerate(items)]
    write_shard(shard_path(folder, number=shard.number), records=records)
    return shard


def _run(
    folder: Path, settings: QASettings, shards: list[Shard], *, assets: Assets, num_workers: int, progress: bool
) -> None:
    """Makes the shards, each worker taking a contiguous run of them, so that it builds few scenes."""
    if not shards:
        return
    lanes = min(num_workers, len(shards))
    total = sum(shard.num_items for shard in shards)
    with ExitStack() as stack, tqdm(total=total, unit="item", desc="qa", disable=not progress) as bar:
        context = multiprocessing.get_context("spawn")
        workers = [stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for _ in range(lanes)]
        with one_thread_each():
            futures: list[Future[Shard]] = [
                workers[place * lanes // len(shards)].submit(make_shard, folder, settings, shard, assets)
                for place, shard in enumerate(shards)
            ]
        try:
            for future in as_completed(futures):
                bar.update(future.result().num_items)
        except BaseException:
            for worker in workers:
                worker.shutdown(wait=False, cancel_futures=True)
            raise


def _claim(folder: Path, settings: QASettings) -> None:
    """Makes the folder ours. Raises ValueError when it holds a dataset of other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest, ours = folder / MANIFEST, settings.to_dict()
    if manifest.is_file():
        theirs = json.loads(manifest.read_text())["settings"]
        for name, value in ours.items():
            if theirs.get(name) != value:
                raise ValueError(
                    f"'{folder}' holds questions made with {name}={theirs.get(name)}, not {value}: "
                    "give another folder, or the same settings to go on"
                )
    elif any(folder.glob("part-*.parquet")):
        raise ValueError(f"'{folder}' holds parquet files but no {MANIFEST}: give an empty folder")
    else:
        write_json(manifest, {"complete": False, "settings": ours})


def _finish(folder: Path, settings: QASettings, shards: list[Shard]) -> dict[str, Any]:
    counts = count_kinds([shard_path(folder, number=shard.number) for shard in shards])
    manifest = {
        "complete": True,
        "num_items": sum(shard.num_items for shard in shards),
        "num_shards": len(shards),
        "counts": counts,
        "assets": settings.assets,
        "settings": settings.to_dict(),
    }
    write_json(folder / MANIFEST, manifest)
    return manifest
