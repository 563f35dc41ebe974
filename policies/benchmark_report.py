"""What a benchmark came to: report.json with counts and intervals, and a page with every item.

Intervals are 95 %. The headline's comes from resampling groups of items that belong together (percentile bootstrap,
Efron 1979); a category's is Wilson's where items are right or wrong, the normal one where they are graded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from vst_vla.envs.page import document, facts
from vst_vla.envs.report import REPORT_HTML, REPORT_JSON
from vst_vla.envs.revision import code_revision
from vst_vla.envs.statistics import Z95, wilson_interval
from vst_vla.vla.benchmarks import Benchmark
from vst_vla.vla.benchmarks.base import Scored, by_category, mean
from vst_vla.vla.files import write_json, write_text

RESAMPLES = 400
_STYLE = "td { vertical-align: top; } pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }"


def make_report(benchmark: Benchmark, scored: Sequence[Scored], *, settings: dict[str, Any]) -> dict[str, Any]:
    """The content of report.json: the headline with its interval, all figures, a row for every category, the settings.

    A figure without items is null.
    """
    figures = benchmark.figures(scored)
    headline = next(iter(figures))
    return {
        "benchmark": benchmark.name,
        "about": benchmark.about,
        "headline": headline,
        "score": _number(figures[headline]),
        "ci95": headline_interval(benchmark, scored),
        "num_items": len(scored),
        "num_unread": sum(entry.answer is None for entry in scored),
        "figures": {name: _number(value) for name, value in figures.items()},
        "categories": {name: _row(entries) for name, entries in by_category(scored).items()},
        "revision": code_revision(),
        "settings": settings,
    }


def write_report(report: dict[str, Any], scored: Sequence[Scored], *, out: Path) -> Path:
    """Writes report.json and the page into `out`; returns the page's path."""
    write_json(out / REPORT_JSON, report)
    write_text(out / REPORT_HTML, _page(report, scored))
    return out / REPORT_HTML


def headline_interval(benchmark: Benchmark, scored: Sequence[Scored], *, seed: int = 0) -> list[float] | None:
    """[low, high] of the first figure by resampling groups; None where the benchmark is not resampled."""
    if not benchmark.resampled:
        return None
    groups: dict[str, list[Scored]] = {}
    for entry in scored:
        groups.setdefault(entry.group, []).append(entry)
    rng = np.random.default_rng(seed)
    drawn = (_draw(list(groups.values()), rng) for _ in range(RESAMPLES))
    values = [next(iter(benchmark.figures(entries).values())) for entries in drawn]
    finite = [value for value in values if math.isfinite(value)]
    return [_number(edge) for edge in np.quantile(finite, (0.025, 0.975))] if finite else None  # type: ignore[misc]


def _draw(groups: Sequence[list[Scored]], rng: np.random.Generator) -> list[Scored]:
    """As many groups as there are, with replacement; a group drawn again counts as another one."""
    times = [0] * len(groups)
    chosen = []
    for place in rng.integers(len(groups), size=len(groups)).tolist():
        chosen += [_renamed(entry, times[place]) for entry in groups[place]]
        times[place] += 1
    return chosen


def _renamed(entry: Scored, time: int) -> Scored:
    if time == 0:
        return entry
    return replace(entry, item=replace(entry.item, id=f"{time}|{entry.item.id}", group=f"{time}|{entry.group}"))


def _row(entries: Sequence[Scored]) -> dict[str, Any]:
    scores = [entry.score for entry in entries]
    low, high = _interval(scores)
    return {
        "score": _number(mean(entries)),
        "ci95": [_number(low), _number(high)],
        "num_items": len(entries),
        "num_unread": sum(entry.answer is None for entry in entries),
    }


def _interval(scores: Sequence[float]) -> tuple[float, float]:
    if set(scores) <= {0.0, 1.0}:
        return wilson_interval(round(sum(scores)), trials=len(scores))
    half = Z95 * float(np.std(scores, ddof=1)) / math.sqrt(len(scores)) if len(scores) > 1 else 1.0
    centre = sum(scores) / len(scores)
    return max(0.0, centre - half), min(1.0, centre + half)


def _number(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _page(report: dict[str, Any], scored: Sequence[Scored]) -> str:
    shown = {key: report[key] for key in ("headline", "score", "ci95", "num_items", "num_unread", "about")}
    rows = "".join(map(_table_row, scored))
    heads = "".join(f"<th>{head}</th>" for head in ("item", "category", "truth", "read", "score", "reply"))
    body = [
        f"<h1>{escape(report['benchmark'])}</h1>",
        facts(shown),
        "<h2>Figures</h2>",
        facts(report["figures"]),
        "<h2>Every item</h2>",
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>',
    ]
    return document(body, title=report["benchmark"], style=_STYLE)


def _table_row(entry: Scored) -> str:
    read = '<span class="fail">unread</span>' if entry.answer is None else escape(entry.answer[:400])
    reply = f"<details><summary>show</summary><pre>{escape(entry.reply)}</pre></details>"
    cells = (escape(entry.item.id), escape(entry.item.category), escape(entry.item.truth[:400]), read)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in (*cells, f"{entry.score:.3g}", reply)) + "</tr>"
