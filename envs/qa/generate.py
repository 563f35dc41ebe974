"""Makes a dataset of spatial questions out of simulated scenes, as VST parquet shards with a manifest.

The work is split into shards by the settings alone. A shard has one task, its own random generator and its own scenes,
so its bytes depend neither on the number of workers nor on what was made before; a run that was cut short makes the
missing shards only. Workers are spawned, one thread each; each keeps to as few tasks as possible, since building a
scene takes seconds.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.qa.encoding import Encoder
from vst_vla.envs.qa.interview import Interview
from vst_vla.envs.qa.plan import QASettings, Shard, check_settings, choose_families, plan_shards
from vst_vla.envs.qa.shards import count_kinds, is_whole, shard_path, write_shard
from vst_vla.envs.qa.stage import EpisodeSource, Stage
from vst_vla.envs.simulator import CAMERAS
from vst_vla.envs.suites import NUM_EVAL_STATES, num_tasks
from vst_vla.envs.threads import one_thread_each
from vst_vla.vla.files import write_json

MANIFEST = "manifest.json"


def make_qa(
    out: str | Path,
    *,
    mixture: Mapping[str, float],
    suite: str = "libero_object",
    task_ids: Sequence[int] | None = None,
    num_items: int = 2000,
    families: Sequence[str] | None = None,
    levels: Sequence[str] | None = None,
    seed: int = 0,
    image_size: int = 256,
    num_workers: int = 2,
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
    assets: Assets | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `part-00000.parquet` and so on, and `manifest.json`, into the folder `out`; returns the manifest.

    Args:
        out: the dataset's folder; a run with the same settings is taken up where it stopped.
        mixture: family -> weight; 0 leaves a family out.
        suite: LIBERO suite.
        task_ids: its tasks by number; all when not given. Items are spread evenly over them.
        num_items: questions in total.
        families: only these of the mixture; all of it when not given.
        levels: only families of these levels, such as L0 and L1; all when not given.
        seed: of everything random.
        image_size: height and width of the pictures in pixels.
        num_workers: processes; the result does not depend on it.
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
        assets: LIBERO's assets; looked for when not given.
        progress: show a progress bar.

    Raises:
        ValueError: an unknown suite, task, family, level or camera, a number out of range, a folder that holds a
            dataset of other settings, or a family of which these scenes allow no question.
    """
    count = num_tasks(suite)
    settings = QASettings(
        suite=suite,
        task_ids=tuple(range(count)) if task_ids is None else tuple(task_ids),
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
    job = partial(make_shard, folder, settings, assets=assets, episodes=episodes)
    _run(job, missing, num_workers=num_workers, progress=progress)
    return _finish(folder, settings, shards)


@lru_cache(maxsize=1)
def _stage(suite: str, task_id: int, assets: Assets) -> Stage:
    """This process's scene of one task; the previous one is let go."""
    return Stage(suite, task_id=task_id, assets=assets)


def make_shard(
    folder: Path, settings: QASettings, shard: Shard, *, assets: Assets, episodes: EpisodeSource | None
) -> Shard:
    """One shard from scene to file; runs in a worker."""
    interview = Interview(settings, shard, stage=_stage(settings.suite, shard.task_id, assets), episodes=episodes)
    source = f"vst_vla/{settings.suite}"
    prefix = f"{settings.suite}-{shard.task_id}-{settings.seed}-{shard.number:05d}"
    records: list[dict[str, Any]] = []
    for asked in interview.run():
        encoder = Encoder()
        for item in asked.items:
            name = f"{prefix}-{len(records):04d}"
            records.append(item.to_record(name=name, data_source=source, encoder=encoder))
    write_shard(shard_path(folder, number=shard.number), records=records)
    return shard


def _run(job: Callable[[Shard], Shard], shards: list[Shard], *, num_workers: int, progress: bool) -> None:
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
                workers[place * lanes // len(shards)].submit(job, shard) for place, shard in enumerate(shards)
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
