"""Two runs on the same episodes, held against each other: which of two policies is better, and is that certain?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vst_vla.envs.compare_page import render_comparison
from vst_vla.envs.merge import read_run
from vst_vla.envs.record import EpisodeKey, EpisodeRecord, describe_key
from vst_vla.envs.report import summarise
from vst_vla.envs.statistics import episodes_to_tell_apart, mcnemar_exact, paired_bootstrap, pairs_to_tell_apart
from vst_vla.vla.files import write_json, write_text

COMPARE_JSON = "compare.json"
COMPARE_HTML = "compare.html"
CONDITIONS = ("suite", "assets", "protocol", "env_seed", "max_steps", "settle_steps", "seed")
"""Settings in which runs must agree: with others, equal numbers name different episodes."""

Pair = tuple[EpisodeRecord, EpisodeRecord]


def compare_runs(first: Path, second: Path) -> tuple[dict[str, Any], list[Pair]]:
    """What two folders of `vst-vla rollout` say together, and the pairs of episodes that it rests on.

    Raises:
        ValueError: a folder without episodes, runs under different conditions, or without an episode in common.
    """
    runs = [read_run(first), read_run(second)]
    _require_same_conditions(first, second, runs)
    by_key: list[dict[EpisodeKey, EpisodeRecord]] = [{r.key: r for r in run if r.is_trial} for run in runs]
    common = sorted(by_key[0].keys() & by_key[1].keys())
    if not common:
        raise ValueError(f"'{first}' and '{second}' have no episode in common: compare runs of the same initial states")
    pairs = [(by_key[0][key], by_key[1][key]) for key in common]
    sides = [
        {"folder": str(folder), **summarise([pair[i] for pair in pairs]), "checkpoint": run[0].run.checkpoint}
        for i, (folder, run) in enumerate(zip((first, second), runs, strict=True))
    ]
    report = {
        "first": sides[0],
        "second": sides[1],
        **{key: asdict(runs[0][0].run)[key] for key in CONDITIONS},
        "num_unpaired": [len(own) - len(common) for own in by_key],
        **_paired(pairs),
        "tasks": _groups(pairs, key=lambda r: (r.task_id,), label=lambda r: f"{r.task_id}: {r.task}"),
        "scenes": _groups(pairs, key=lambda r: (r.axes, r.strength), label=_scene),
    }
    return report, pairs


def write_comparison(first: Path, second: Path, *, out: Path) -> dict[str, Any]:
    """Writes `compare.json` and `compare.html` into `out`; returns what the first holds. Raises as `compare_runs`."""
    report, pairs = compare_runs(first, second)
    write_json(out / COMPARE_JSON, report)
    write_text(out / COMPARE_HTML, render_comparison(report, pairs, folders=(first, second)))
    return report


def _require_same_conditions(first: Path, second: Path, runs: Sequence[Sequence[EpisodeRecord]]) -> None:
    ours, theirs = (asdict(run[0].run) for run in runs)
    for key in CONDITIONS:
        if ours[key] != theirs[key]:
            raise ValueError(
                f"'{first}' has {key}={ours[key]}, '{second}' has {key}={theirs[key]}: equal numbers name different "
                "episodes there; compare runs under the same conditions"
            )


def _paired(pairs: Sequence[Pair]) -> dict[str, Any]:
    """The four counts, the difference of the rates (second minus first), and how certain it is."""
    counts = {(a, b): 0 for a in (True, False) for b in (True, False)}
    for a, b in pairs:
        counts[a.success, b.success] += 1
    low, high = paired_bootstrap([float(b.success) - float(a.success) for a, b in pairs])
    only_first, only_second = counts[True, False], counts[False, True]
    rates = [sum(pair[i].success for pair in pairs) / len(pairs) for i in (0, 1)]
    return {
        "num_pairs": len(pairs),
        "both": counts[True, True],
        "only_first": only_first,
        "only_second": only_second,
        "neither": counts[False, False],
        "difference": round(rates[1] - rates[0], 4),
        "difference_ci95": [round(low, 4), round(high, 4)],
        "mcnemar_p": round(mcnemar_exact(only_first, only_second), 6),
        "pairs_needed": pairs_to_tell_apart(only_first / len(pairs), only_second / len(pairs)),
        "episodes_needed": episodes_to_tell_apart(*rates),
    }


def _groups(
    pairs: Sequence[Pair], *, key: Callable[[EpisodeRecord], Any], label: Callable[[EpisodeRecord], str]
) -> list[Mapping[str, Any]]:
    """A row for each task or scene."""
    found: dict[Any, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(key(pair[0]), []).append(pair)
    return [{"label": label(group[0][0]), **_paired(group)} for _, group in sorted(found.items())]


def _scene(record: EpisodeRecord) -> str:
    return describe_key(record.key).partition(", ")[2].partition(", ")[2] or "official"
