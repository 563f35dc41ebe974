"""The page of an evaluation: one HTML file with its videos inside, no script, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vst_vla.envs.page import document, facts, video
from vst_vla.envs.record import EpisodeRecord

EMBED_LIMIT = 48 * 2**20
"""Bytes of video put into the page; the rest are links to the files beside it."""

STYLE = """
.headline { display: flex; flex-wrap: wrap; align-items: flex-end; gap: 1rem 2.5rem; }
.rate { font-size: clamp(3.2rem, 9vw, 5rem); line-height: 1; font-weight: 700; letter-spacing: -.03em; }
.rate { font-variant-numeric: tabular-nums; }
.interval { flex: 1 1 18rem; max-width: 30rem; }
.interval p { margin: 0 0 .5rem; color: var(--soft); }
.bar { display: block; width: 100%; height: 14px; }
.bar rect.track { fill: var(--track); }
.bar rect.range { fill: var(--accent); opacity: .38; } .bar rect.dot { fill: var(--accent); }
td:not(:first-child), th { white-space: nowrap; }
td.bar-cell { width: 30%; min-width: 9rem; }
video, .blank { aspect-ratio: 1; background: var(--track); }
.blank { display: grid; place-items: center; width: 100%; color: var(--soft); font-size: .85rem; }
"""


def render_page(report: Mapping[str, Any], records: Sequence[EpisodeRecord], *, folder: Path) -> str:
    """The whole page.

    Args:
        report: the content of report.json.
        records: the episodes, in the order in which to show them.
        folder: where the records' videos are relative to.
    """
    wins, count = report["num_success"], report["num_episodes"]
    title = f"{report['policy']} on {report['suite']}: {wins} of {count} episodes succeeded"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _headline(report),
        "<h2>Tasks</h2>" + _table(report["tasks"], first="task", label=_task_label),
    ]
    if report["baselines"]:
        rows = [report, *report["baselines"]]
        parts.append("<h2>Sanity runs</h2>" + _table(rows, first="policy", label=lambda row: str(row["policy"])))
    parts += ["<h2>Episodes</h2>" + _grid(records, folder), "<h2>Setup</h2>" + _facts(report)]
    return document(parts, title=title, style=STYLE)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def _interval_text(row: Mapping[str, Any]) -> str:
    low, high = row["ci95"]
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def _bar(row: Mapping[str, Any]) -> str:
    """The interval as a range on a 0 to 100 % track, with the rate marked."""
    low, high = (100 * end for end in row["ci95"])
    mark = min(max(100 * row["success_rate"] - 0.6, 0), 98.8)
    label = escape(f"{_percent(row['success_rate'])}, 95 % interval {_interval_text(row)}")
    return (
        f'<svg class="bar" viewBox="0 0 100 14" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '<rect class="track" x="0" y="5" width="100" height="4"/>'
        f'<rect class="range" x="{low:.2f}" y="3" width="{high - low:.2f}" height="8"/>'
        f'<rect class="dot" x="{mark:.2f}" y="0" width="1.2" height="14"/></svg>'
    )


def _headline(report: Mapping[str, Any]) -> str:
    broken = report["num_errors"]
    note = f' <span class="fail">{broken} ended because the simulator broke.</span>' if broken else ""
    return (
        f'<div class="headline"><div class="rate">{_percent(report["success_rate"])}</div><div class="interval">'
        f"<p>{report['num_success']} of {report['num_episodes']} episodes; the true rate lies within "
        f"{_interval_text(report)} at 95 % confidence (Wilson).{note}</p>{_bar(report)}</div></div>"
    )


def _task_label(row: Mapping[str, Any]) -> str:
    return f"{row['task_id']}: {row['task']}"


def _table(rows: Sequence[Mapping[str, Any]], *, first: str, label: Any) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in (first.capitalize(), "Success", "Rate", "95 % interval", "", "Mean steps")
    )
    body = "".join(
        f"<tr><td>{escape(label(row))}</td><td>{row['num_success']}/{row['num_episodes']}</td>"
        f"<td>{_percent(row['success_rate'])}</td><td>{_interval_text(row)}</td>"
        f'<td class="bar-cell">{_bar(row)}</td><td>{row["mean_steps"]:g}</td></tr>'
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _grid(records: Sequence[EpisodeRecord], folder: Path) -> str:
    left = EMBED_LIMIT
    cards = []
    for record in records:
        picture, used = _video(record, folder, limit=left)
        left -= used
        cards.append(_card(record, picture))
    return f'<div class="grid">{"".join(cards)}</div>'


def _card(record: EpisodeRecord, picture: str) -> str:
    verdict, css = ("success", "pass") if record.success else ("failure", "fail")
    note = f'<div class="fail">{escape(record.error)}</div>' if record.error else ""
    return (
        f'<figure>{picture}<figcaption><div class="key"><span>task {record.task_id}, state {record.init_state}</span>'
        f'<span class="{css}">{verdict}</span></div>'
        f'<div class="note">{record.num_steps} steps, {record.wall_s:.1f} s</div>{note}</figcaption></figure>'
    )


def _video(record: EpisodeRecord, folder: Path, *, limit: int) -> tuple[str, int]:
    """The episode's picture as HTML, and how many bytes of `limit` it took."""
    path = folder / record.video
    if not record.video or not path.is_file():
        return '<div class="blank">not filmed</div>', 0
    size = path.stat().st_size
    if size > limit:
        return f'<div class="blank"><a href="{escape(record.video)}">{escape(path.name)}</a></div>', 0
    return video(path.read_bytes(), label=f"task {record.task_id}, state {record.init_state}"), size


def _facts(report: Mapping[str, Any]) -> str:
    return facts(
        {
            "Suite": report["suite"],
            "Policy": report["policy"],
            "Checkpoint": report["checkpoint"] or "none",
            "Assets": report["assets"],
            "Seed": report["seed"],
            "Pictures": f"{report['image_size']} px",
            "Actions executed per chunk": report["execute"],
            "Control steps at most": report["max_steps"],
            "Code": report["revision"],
            "Time": f"{report['wall_s']:.0f} s",
            "Peak memory": f"{report['peak_rss_gib']:.2f} GiB",
        }
    )
