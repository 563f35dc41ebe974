"""What an evaluation came to: `report.json` for programs, `report.html` for people, from its episodes' records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vst_vla.envs.record import EpisodeRecord, count_successes
from vst_vla.envs.report_page import render_page
from vst_vla.envs.revision import code_revision
from vst_vla.envs.statistics import wilson_interval
from vst_vla.vla.files import write_json, write_text

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
SETTINGS = ("assets", "seed", "checkpoint", "image_size", "execute", "max_steps", "settle_steps", "env_seed")


def summarise(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Counts of some episodes: policy, episodes, successes, errors, success rate, its Wilson 95 % interval, mean steps.

    Those whose scene could not be made are `num_skipped` and count in nothing else.

    Raises:
        ValueError: when there is no episode.
    """
    given = len(records)
    records = [record for record in records if record.is_trial]
    if not records:
        raise ValueError("no episodes to report: run `vst-vla rollout` first")
    wins = count_successes(records)
    low, high = wilson_interval(wins, trials=len(records))
    return {
        "policy": records[0].run.policy,
        "success_rate": wins / len(records),
        "num_episodes": len(records),
        "num_success": wins,
        "num_errors": sum(bool(record.error) for record in records),
        "num_skipped": given - len(records),
        "ci95": [round(low, 4), round(high, 4)],
        "mean_steps": round(sum(record.num_steps for record in records) / len(records), 1),
    }


def make_report(
    records: Sequence[EpisodeRecord],
    *,
    wall_s: float,
    peak_rss_gib: float,
    baselines: Sequence[Sequence[EpisodeRecord]] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of report.json.

    Args:
        records: the episodes of one run.
        wall_s: seconds that the command took.
        peak_rss_gib: most memory in use, GiB.
        baselines: episodes of sanity runs, such as a random policy's; a summary of each goes under `baselines`.
        extra: more entries, put last.

    Raises:
        ValueError: when there is no episode.
    """
    summary = summarise(records)
    run = asdict(records[0].run)
    task_ids = sorted({record.task_id for record in records if record.is_trial})
    return {
        **summary,
        "suite": run["suite"],
        "task_id": task_ids[0] if len(task_ids) == 1 else None,
        "task_ids": task_ids,
        **{key: run[key] for key in SETTINGS},
        "revision": code_revision(),
        "wall_s": round(wall_s, 1),
        "peak_rss_gib": round(peak_rss_gib, 2),
        "tasks": [_task_row(records, task_id) for task_id in task_ids],
        "axes": _scene_rows(records),
        "baselines": [summarise(episodes) for episodes in baselines],
        **(extra or {}),
    }


def write_report(report: Mapping[str, Any], records: Sequence[EpisodeRecord], *, out: Path) -> Path:
    """Writes `report.json` and `report.html` into `out`, whose videos it embeds; returns the page's path."""
    write_json(out / REPORT_JSON, report)
    page = out / REPORT_HTML
    write_text(page, render_page(report, records, folder=out))
    return page


def _task_row(records: Sequence[EpisodeRecord], task_id: int) -> dict[str, Any]:
    own = [record for record in records if record.task_id == task_id]
    summary = summarise(own)
    del summary["policy"]
    return {"task_id": task_id, "task": own[0].task, **summary}


def _scene_rows(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """A row for each way in which scenes were changed, the official ones among them; none where all are official."""
    scenes = dict.fromkeys((record.axes, record.strength) for record in records if record.is_trial)
    if not any(axes for axes, _ in scenes):
        return []
    rows = []
    for axes, strength in sorted(scenes):
        summary = summarise([r for r in records if (r.axes, r.strength) == (axes, strength)])
        del summary["policy"]
        rows.append({"axes": list(axes), "strength": strength, **summary})
    return rows
