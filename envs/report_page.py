"""The page of an evaluation: one HTML file with its videos inside, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vst_vla.envs import report_axes, report_cards
from vst_vla.envs.page import document, facts
from vst_vla.envs.record import EpisodeRecord

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
    if report.get("axes"):
        table = _table(report["axes"], first="scene", label=_scene_label)
        parts.append("<h2>Changed scenes</h2>" + report_axes.axes_section(report["axes"]) + table)
    parts.append("<h2>Episodes</h2>" + report_cards.episodes_section(records, folder))
    if "protocol" in report:
        parts.append("<h2>Protocol</h2>" + _protocol(report["protocol"]))
    parts.append("<h2>Setup</h2>" + _facts(report))
    return document(parts, title=title, style=STYLE + report_cards.STYLE + report_axes.STYLE)


def _protocol(protocol: Mapping[str, Any]) -> str:
    """Its name and source, and what in this run is otherwise."""
    deviations = "".join(f"<li>{escape(phrase)}</li>" for phrase in protocol["deviations"])
    notes = "".join(f"<li>{escape(note)}</li>" for note in protocol["notes"])
    told = f"<p>In this run:</p><ul>{deviations}</ul>" if deviations else "<p>This run follows it.</p>"
    always = f"<p>In every run:</p><ul>{notes}</ul>" if notes else ""
    return f"<p><b>{escape(protocol['name'])}</b> ({escape(protocol['source'])})</p>{told}{always}"


def percent(fraction: float) -> str:
    """A share in words: "97.5 %"."""
    return f"{100 * fraction:.3g} %"


def _interval_text(row: Mapping[str, Any]) -> str:
    low, high = row["ci95"]
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def interval_bar(row: Mapping[str, Any]) -> str:
    """The interval as a range on a 0 to 100 % track, with the rate marked."""
    low, high = (100 * end for end in row["ci95"])
    mark = min(max(100 * row["success_rate"] - 0.6, 0), 98.8)
    label = escape(f"{percent(row['success_rate'])}, 95 % interval {_interval_text(row)}")
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
        f'<div class="headline"><div class="rate">{percent(report["success_rate"])}</div><div class="interval">'
        f"<p>{report['num_success']} of {report['num_episodes']} episodes; the true rate lies within "
        f"{_interval_text(report)} at 95 % confidence (Wilson).{note}</p>{interval_bar(report)}</div></div>"
    )


def _task_label(row: Mapping[str, Any]) -> str:
    return f"{row['task_id']}: {row['task']}"


def _scene_label(row: Mapping[str, Any]) -> str:
    return f"{'+'.join(row['axes'])} {row['strength']:g}" if row["axes"] else report_cards.OFFICIAL


def _table(rows: Sequence[Mapping[str, Any]], *, first: str, label: Any) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in (first.capitalize(), "Success", "Rate", "95 % interval", "", "Mean steps")
    )
    body = "".join(
        f"<tr><td>{escape(label(row))}</td><td>{row['num_success']}/{row['num_episodes']}</td>"
        f"<td>{percent(row['success_rate'])}</td><td>{_interval_text(row)}</td>"
        f'<td class="bar-cell">{interval_bar(row)}</td><td>{row["mean_steps"]:g}</td></tr>'
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


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
