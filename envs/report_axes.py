"""The chart of a report's page that shows what changed scenes cost: a panel for each axis, success by strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 220, 120, 26

STYLE = """
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: 1rem; }
.panels { margin-bottom: 1.5rem; }
.panels figure { padding: .6rem .75rem; } .panels figcaption { padding: 0 0 .3rem; font-weight: 600; }
.panels svg { display: block; width: 100%; height: auto; overflow: visible; }
.panels text { font-size: 9px; fill: var(--soft); } .panels line { stroke: var(--line); }
.panels .range { stroke: var(--accent); stroke-width: 2; opacity: .5; } .panels .dot { fill: var(--accent); }
.panels polyline { fill: none; stroke: var(--accent); stroke-width: 1.5; }
"""


def axes_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """A panel for each combination of axes; the official scenes, where they were run, are every panel's strength 0.

    Args:
        rows: summaries by scene, as in report.json's `axes`: with `axes`, `strength`, `success_rate`, `ci95`.
    """
    official = [row for row in rows if not row["axes"]]
    names = dict.fromkeys(tuple(row["axes"]) for row in rows if row["axes"])
    panels = "".join(
        _panel("+".join(name), [*official, *(row for row in rows if tuple(row["axes"]) == name)]) for name in names
    )
    return f'<div class="panels">{panels}</div>'


def _panel(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Success (0 to 100 %) with its 95 % interval against the strength (0 to 1)."""
    rows = sorted(rows, key=lambda row: row["strength"])
    grid = "".join(
        f'<line x1="{MARGIN}" x2="{WIDTH}" y1="{_y(share):.1f}" y2="{_y(share):.1f}"/>'
        f'<text x="{MARGIN - 4}" y="{_y(share) + 3:.1f}" text-anchor="end">{share:.0%}</text>'
        for share in (0.0, 0.5, 1.0)
    )
    trail = " ".join(f"{_x(row['strength']):.1f},{_y(row['success_rate']):.1f}" for row in rows)
    return (
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH + 8} {HEIGHT}" role="img" aria-label="{escape(_spoken(name, rows))}">{grid}'
        f'<polyline points="{trail}"/>{"".join(map(_point, rows))}</svg></figure>'
    )


def _point(row: Mapping[str, Any]) -> str:
    x, (low, high) = _x(row["strength"]), row["ci95"]
    return (
        f'<line class="range" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(low):.1f}" y2="{_y(high):.1f}"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="{_y(row["success_rate"]):.1f}" r="3"/>'
        f'<text x="{x:.1f}" y="{HEIGHT - 4}" text-anchor="middle">{row["strength"]:g}</text>'
    )


def _spoken(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    said = ", ".join(f"{row['num_success']}/{row['num_episodes']} at {row['strength']:g}" for row in rows)
    return f"{name}: {said}"


def _x(strength: float) -> float:
    return MARGIN + 12 + strength * (WIDTH - MARGIN - 24)


def _y(share: float) -> float:
    return 8 + (1 - share) * (HEIGHT - 28)
