"""Every family's answers, found anew from raw simulator states by the checkers in qa_truth/.

    python tests/envs/qa_truth_record.py --items 500 --out docs/results/qa_truth.json

Items are those that `vst-vla qa` would make, all families in equal numbers, over tasks of several suites; half of the
tasks are pictured as policies see them, half unmirrored. A task is a process's work; its items are made and checked
there. Boxes are held against masks on the way: hulls of a box and of what is seen of an object that nothing hides.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from qa_truth import CHECKERS, check
from qa_truth.case import Case
from qa_truth.hulls import hull_agreement
from qa_truth.moment import World

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa.base import BOXES
from vst_vla.envs.qa.interview import Interview
from vst_vla.envs.qa.plan import QASettings, Shard, plan_shards
from vst_vla.envs.qa.stage import Stage
from vst_vla.envs.threads import one_thread_each
from vst_vla.policies.episode_states import expert_states
from vst_vla.vla.files import write_json

TASKS = "libero_object:0,5 libero_goal:0,7 libero_spatial:1 libero_10:3"
ITEMS_PER_SCENE, ITEMS_PER_CLIP = 120, 210
MOST_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class Work:
    """One task's share."""

    settings: QASettings
    shard: Shard


def main(argv: Sequence[str]) -> int:
    """Makes, checks and records; 1 when an answer did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=500, help="of each family")
    parser.add_argument("--tasks", default=TASKS, help="SUITE:TASK,TASK and so on, the suites apart by spaces")
    parser.add_argument("--families", nargs="*", default=list(CHECKERS))
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", default="docs/results/qa_truth.json")
    chosen = parser.parse_args(argv)
    start = time.monotonic()
    found: list[dict[str, Any]] = []
    works = plan(chosen)
    for part in run(works, num_workers=chosen.workers):
        found.append(part)
        command = " ".join(["python tests/envs/qa_truth_record.py", *argv])
        head = {"command": command, "tasks": chosen.tasks, "tasks_done": f"{len(found)} of {len(works)}"}
        head |= {"image_size": chosen.image_size, "seed": chosen.seed, "assets": part["assets"]}
        head |= {"minutes": round((time.monotonic() - start) / 60, 1)}
        record = head | summary(found, families=chosen.families)
        write_json(Path(chosen.out), record)
        print(f"{len(found)} of {len(works)} tasks", file=sys.stderr, flush=True)
    for name, row in record["families"].items():
        print(f"{name:<22} {row['agree']:>4} of {row['items']}", *row["reasons"][:1])
    print(f"{chosen.out}: {record['agree']} of {record['items']} answers hold, {record['minutes']} minutes")
    return int(record["agree"] < record["items"])


def plan(chosen: argparse.Namespace) -> list[Work]:
    """The work by task: mirrored and unmirrored by turns."""
    tasks = [(suite, int(t)) for part in chosen.tasks.split() for suite, ts in [part.split(":")] for t in ts.split(",")]
    settings = QASettings(
        tasks=tuple(tasks),
        num_items=chosen.items * len(chosen.families),
        families=tuple((name, 1.0) for name in chosen.families),
        seed=chosen.seed,
        image_size=chosen.image_size,
        mirror=True,
        short_prompt=False,
        cameras=("agentview", "robot0_eye_in_hand"),
        extra_views=2,
        episodes="expert_states",
        episode_share=0.3,
        items_per_scene=ITEMS_PER_SCENE,
        items_per_clip=ITEMS_PER_CLIP,
        shard_size=chosen.items * len(chosen.families),
        init_states=tuple(range(20, 50)),
    )
    return [Work(settings=replace(settings, mirror=s.number % 2 == 0), shard=s) for s in plan_shards(settings)]


def run(works: Sequence[Work], *, num_workers: int) -> Iterator[dict[str, Any]]:
    """What every task's check found, each in a process of its own, since a scene's memory is not all given back."""
    with one_thread_each():
        pool = ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), max_tasks_per_child=1)
        with pool:
            yield from pool.map(check_task, works)


def check_task(work: Work) -> dict[str, Any]:
    """Counts by family, reasons of what does not hold, and how boxes and masks agree."""
    assets = find_assets(work.shard.suite)
    stage = Stage(work.shard.suite, task_id=work.shard.task_id, assets=assets)
    world = World(stage.simulator, size=work.settings.image_size)
    items, agree, reasons, hulls = Counter(), Counter(), defaultdict(list), defaultdict(list)
    for asked in Interview(work.settings, work.shard, stage=stage, episodes=expert_states).run():
        moments = tuple(world.moment(scene) for scene in asked.scenes)
        cases = [Case(item, moments) for item in asked.items]
        for case in cases:
            name = case.item.family
            items[name] += 1
            try:
                check(case)
                agree[name] += 1
            except AssertionError as error:
                line = case.question.splitlines()[-1 if case.item.kind == BOXES else 0]
                reasons[name].append(f"{asked.scenes[0].source}: {line}: {error}")
        for name, rows in hull_agreement(cases).items():
            hulls[name] += rows
    stage.close()
    return {"assets": assets.kind, "items": items, "agree": agree, "reasons": dict(reasons), "hulls": dict(hulls)}


def summary(found: Sequence[dict[str, Any]], *, families: Sequence[str]) -> dict[str, Any]:
    """The record of all tasks together."""
    rows = {}
    for name in families:
        reasons = [reason for part in found for reason in part["reasons"].get(name, [])]
        items, agree = (sum(part[key][name] for part in found) for key in ("items", "agree"))
        rows[name] = {"items": items, "agree": agree, "reasons": reasons[:MOST_REASONS]}
    totals = {key: sum(row[key] for row in rows.values()) for key in ("items", "agree")}
    return {"cores": os.cpu_count(), **totals, "families": rows, "boxes": box_table(found)}


def box_table(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Category -> how the hulls of its boxes and masks agree, worst median first."""
    table = {}
    for name in {name for part in found for name in part["hulls"]}:
        rows = np.array([row for part in found for row in part["hulls"].get(name, [])])
        (iou, covered), (least, least_covered) = np.median(rows, axis=0), rows.min(axis=0)
        table[name] = {
            "views": len(rows),
            "iou_median": round(float(iou), 3),
            "iou_min": round(float(least), 3),
            "covered_median": round(float(covered), 4),
            "covered_min": round(float(least_covered), 4),
        }
    return dict(sorted(table.items(), key=lambda pair: pair[1]["iou_median"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
