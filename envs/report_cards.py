"""The episodes on a report's page: a card each, failures first, and controls that choose among them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from vst_vla.envs.page import video
from vst_vla.envs.record import EpisodeRecord

EMBED_LIMIT = 48 * 2**20
"""Bytes of video put into the page; the rest are links to the files beside it."""

OFFICIAL = "official"

STYLE = """
video, .blank { aspect-ratio: 1; background: var(--track); }
.blank { display: grid; place-items: center; width: 100%; color: var(--soft); font-size: .85rem; }
.controls { display: flex; flex-wrap: wrap; gap: .75rem 1.25rem; align-items: center; margin: 0 0 1rem; }
.controls label { color: var(--soft); font-size: .9rem; } .controls output { margin-left: auto; color: var(--soft); }
select { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: .25rem .5rem; margin-left: .4rem; max-width: 22rem; }
figure[hidden] { display: none; }
"""

SCRIPT = """
const episodes = [...document.querySelectorAll('#episodes figure')];
const controls = [...document.querySelectorAll('.controls select')];
const show = () => {
  for (const card of episodes)
    card.hidden = controls.some(c => c.value && !JSON.parse(card.dataset[c.name]).includes(c.value));
  document.querySelector('.controls output').value =
    `${episodes.filter(card => !card.hidden).length} of ${episodes.length} episodes`;
};
for (const control of controls) control.addEventListener('change', show);
show();
"""


class VideoBudget:
    """Puts videos into a page until it is large enough."""

    def __init__(self) -> None:
        self._left = EMBED_LIMIT

    def player(self, record: EpisodeRecord, folder: Path) -> str:
        """The episode's video in the page, a link to it, or that there is none; `folder` is that of its records."""
        path = folder / record.video
        if not record.video or not path.is_file():
            return '<div class="blank">not filmed</div>'
        size = path.stat().st_size
        if size > self._left:
            return f'<div class="blank"><a href="{escape(record.video)}">{escape(path.name)}</a></div>'
        self._left -= size
        return video(path.read_bytes(), label=f"task {record.task_id}, state {record.init_state}")


def episodes_section(records: Sequence[EpisodeRecord], folder: Path) -> str:
    """The controls, then all cards: failures first, each in the order given."""
    budget = VideoBudget()
    ordered = sorted(records, key=lambda record: record.success)
    cards = "".join(_card(record, budget.player(record, folder)) for record in ordered)
    return f'{_controls(records)}<div class="grid" id="episodes">{cards}</div><script>{SCRIPT}</script>'


def _controls(records: Sequence[EpisodeRecord]) -> str:
    tasks = {str(record.task_id): f"{record.task_id}: {record.task}" for record in records if not record.axes}
    tasks = {str(record.task_id): str(record.task_id) for record in records} | tasks
    scenes = dict.fromkeys(name for record in records for name in _scene_names(record))
    shown = [
        _select("task", "Task", tasks.items()),
        _select("outcome", "Outcome", [(name, name) for name in dict.fromkeys(map(_outcome, records))]),
        _select("scene", "Scene", [(name, name) for name in scenes]),
    ]
    return f'<form class="controls">{"".join(shown)}<output></output></form>'


def _select(name: str, title: str, choices: Iterable[tuple[str, str]]) -> str:
    options = "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in choices)
    return f'<label>{title}<select name="{name}"><option value="">all</option>{options}</select></label>'


def _outcome(record: EpisodeRecord) -> str:
    if record.error:
        return "broken" if record.is_trial else "skipped"
    return "success" if record.success else "failure"


def _scene_names(record: EpisodeRecord) -> list[str]:
    """What a filter can ask of its scene: "camera" and "camera 0.5"."""
    if not record.axes:
        return [OFFICIAL]
    return [*record.axes, *(f"{axis} {record.strength:g}" for axis in record.axes)]


def _card(record: EpisodeRecord, picture: str) -> str:
    outcome = _outcome(record)
    values = {"task": [str(record.task_id)], "outcome": [outcome], "scene": _scene_names(record)}
    data = " ".join(f'data-{name}="{escape(json.dumps(names))}"' for name, names in values.items())
    scene = f'<div class="note">{escape("+".join(record.axes))} {record.strength:g}</div>' if record.axes else ""
    said = f'<div class="note">{escape(record.task)}</div>' if record.axes else ""
    error = f'<div class="fail">{escape(record.error)}</div>' if record.error else ""
    return (
        f'<figure {data}>{picture}<figcaption><div class="key"><span>task {record.task_id}, state {record.init_state}'
        f'</span><span class="{"pass" if record.success else "fail"}">{outcome}</span></div>{scene}{said}'
        f'<div class="note">{record.num_steps} steps, {record.wall_s:.1f} s</div>{error}</figcaption></figure>'
    )
