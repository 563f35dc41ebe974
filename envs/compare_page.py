"""The page of two runs compared: one HTML file, no script, videos of the episodes in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vst_vla.envs.page import document
from vst_vla.envs.record import EpisodeRecord, describe_key
from vst_vla.envs.report_cards import STYLE as CARD_STYLE
from vst_vla.envs.report_cards import VideoBudget
from vst_vla.envs.report_page import STYLE, interval_bar, percent

Pair = tuple[EpisodeRecord, EpisodeRecord]
MOST_SHOWN = 24
LEVEL = 0.05


def render_comparison(report: Mapping[str, Any], pairs: Sequence[Pair], *, folders: tuple[Path, Path]) -> str:
    """The whole page.

    Args:
        report: the content of compare.json.
        pairs: the episodes of both runs.
        folders: where their videos are relative to.
    """
    names = _names(report)
    title = f"{names[1]} against {names[0]} on {report['suite']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _headline(report, names),
        "<h2>Rates</h2>" + _rates(report, names),
        "<h2>Tasks</h2>" + _table(report["tasks"], names, first="Task"),
    ]
    if len(report["scenes"]) > 1:
        parts.append("<h2>Scenes</h2>" + _table(report["scenes"], names, first="Scene"))
    parts.append("<h2>Where they differ</h2>" + _films(pairs, names, folders))
    return document(parts, title=title, style=STYLE + CARD_STYLE)


def _names(report: Mapping[str, Any]) -> tuple[str, str]:
    """What the two runs are called: their policies, with their folders where those are equal."""
    a, b = report["first"], report["second"]
    if a["policy"] != b["policy"]:
        return str(a["policy"]), str(b["policy"])
    return f"{a['policy']} ({a['folder']})", f"{b['policy']} ({b['folder']})"


def _headline(report: Mapping[str, Any], names: tuple[str, str]) -> str:
    points, (low, high) = 100 * report["difference"], (100 * end for end in report["difference_ci95"])
    certain = report["mcnemar_p"] < LEVEL
    verdict = "They differ" if certain else "No difference is shown"
    return (
        f'<div class="headline"><div class="rate">{points:+.3g}</div><div class="interval"><p>percentage points from '
        f"{escape(names[0])} to {escape(names[1])} over {report['num_pairs']} pairs of episodes; 95 % interval "
        f"{low:+.3g} to {high:+.3g} (paired bootstrap). {verdict}: p = {report['mcnemar_p']:.3g} (McNemar, exact).</p>"
        f"<p>{_needed(report)}</p></div></div>"
    )


def _needed(report: Mapping[str, Any]) -> str:
    pairs, episodes = report["pairs_needed"], report["episodes_needed"]
    if pairs is None or episodes is None:
        return "The rates are equal: no number of episodes would tell them apart."
    return (
        f"To tell rates like these apart at the 5 % level with a power of 80 % takes {pairs} pairs on the same scenes, "
        f"or {episodes} episodes of each on different ones."
    )


def _rates(report: Mapping[str, Any], names: tuple[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{row['num_success']}/{row['num_episodes']}</td>"
        f'<td>{percent(row["success_rate"])}</td><td class="bar-cell">{interval_bar(row)}</td></tr>'
        for name, row in zip(names, (report["first"], report["second"]), strict=True)
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'


def _table(rows: Sequence[Mapping[str, Any]], names: tuple[str, str], *, first: str) -> str:
    titles = (first, "Pairs", "Both", f"Only {names[0]}", f"Only {names[1]}", "Neither", "Difference", "p")
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        f"<tr><td>{escape(row['label'])}</td>"
        + "".join(f"<td>{row[key]}</td>" for key in ("num_pairs", "both", "only_first", "only_second", "neither"))
        + f"<td>{100 * row['difference']:+.3g}</td><td>{row['mcnemar_p']:.3g}</td></tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _films(pairs: Sequence[Pair], names: tuple[str, str], folders: tuple[Path, Path]) -> str:
    """Both videos of the episodes that just one of them solved."""
    differing = [pair for pair in pairs if pair[0].success != pair[1].success]
    budget, cards = VideoBudget(), []
    for pair in differing[:MOST_SHOWN]:
        for record, name, folder in zip(pair, names, folders, strict=True):
            verdict, css = ("success", "pass") if record.success else ("failure", "fail")
            cards.append(
                f'<figure>{budget.player(record, folder)}<figcaption><div class="key"><span>'
                f'{escape(describe_key(record.key))}</span><span class="{css}">{verdict}</span></div>'
                f'<div class="note">{escape(name)}</div></figcaption></figure>'
            )
    if not cards:
        return "<p>Nowhere: every episode ended alike.</p>"
    left = len(differing) - MOST_SHOWN
    more = f"<p>{left} more are in the records.</p>" if left > 0 else ""
    return f'<div class="grid">{"".join(cards)}</div>{more}'
