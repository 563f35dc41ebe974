"""The page about a dataset, from its numbers, the sampled pictures and what the checks found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from vst_vla.envs.page import data_uri, document, facts, video
from vst_vla.policies.preview_checks import Check, Column, count_no_ops, has_our_actions, summarise_columns
from vst_vla.policies.preview_data import DatasetNumbers, EpisodeSpan
from vst_vla.policies.preview_figures import histogram
from vst_vla.vla.contracts import ACTION_KEY
from vst_vla.vla.data.columns import picture_shape

OPEN_TASKS = 3  # a page with more tasks than this starts with the first one open only
VARIATION_LENGTH = 120  # characters shown of what was varied; all of it shows on pointing
MADE = {"init_state": "Initial state", "tries": "Attempts", "source": "Source", "variation": "Variation"}
"""What meta/vst_vla.json may say about an episode, and how the page calls it."""

STYLE = """
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
details { border-top: 1px solid var(--line); } details:last-of-type { border-bottom: 1px solid var(--line); }
summary { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .1rem 1.5rem; padding: .7rem 0;
  cursor: pointer; }
summary::before { content: "+"; width: .8rem; color: var(--accent); font-weight: 700; }
details[open] > summary::before { content: "\\2212"; }
summary .what { flex: 1 1 20rem; font-weight: 600; }
details > .inside { padding: .3rem 0 1.6rem; scroll-margin-top: 3.5rem; }
nav ol { margin: 0 0 1rem; padding-left: 1.6rem; columns: 22rem; column-gap: 2rem; }
.warnings { margin: 1.8rem 0 0; padding: .8rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-left: 4px solid var(--alarm); border-radius: 4px; }
.warnings.none { border-left-color: var(--accent); }
.warnings ul { margin: .3rem 0 0; padding-left: 1.2rem; } .warnings p { margin: 0; }
.grid { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); margin-bottom: 1.2rem; }
.plot { padding: .7rem .8rem .5rem; }
.plot figcaption { padding: 0 0 .5rem; display: flex; justify-content: space-between; }
.histogram { display: block; width: 100%; }
.histogram rect { fill: var(--accent); } .histogram .axis { stroke: var(--line); }
.histogram .mark { stroke: var(--ink); stroke-dasharray: 2 2; }
.histogram text { fill: var(--soft); font: 11px system-ui, sans-serif; }
img { display: block; width: 100%; height: auto; } img + video { margin-top: 4px; }
td.number, th.number { text-align: right; white-space: nowrap; }
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What is shown of one episode; an empty file did not fit into the page."""

    episode: EpisodeSpan
    sheet: bytes  # JPEG
    film: bytes  # MP4
    frozen: Mapping[str, int]  # frames a camera


def render_preview(numbers: DatasetNumbers, samples: Sequence[Sample], *, checks: Sequence[Check]) -> str:
    """The whole page as HTML."""
    no_ops = _no_ops(numbers)
    title = (
        f"{numbers.layout.folder.resolve().name}: {_count(len(numbers.episodes), 'episode')} "
        f"of {_count(len(numbers.tasks), 'task')}"
    )
    parts = [
        f"<h1>{escape(title)}</h1>",
        facts(_dataset_facts(numbers, no_ops)),
        _warnings(checks),
        _tasks(numbers, samples, no_ops),
        "<h2>Numbers</h2>" + _plots(numbers) + _statistics(numbers) + _checked(checks),
        f'<h2>About this page</h2><p class="note">{_about(numbers, samples)}</p>',
    ]
    return document(parts, title=title, style=STYLE)


def _no_ops(numbers: DatasetNumbers) -> dict[int, int]:
    """No-ops by episode; empty when the actions' dimensions are not ours."""
    if not has_our_actions(numbers):
        return {}
    actions = numbers.vectors[ACTION_KEY]
    return {episode.index: count_no_ops(actions[episode.start : episode.stop]) for episode in numbers.episodes}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _share(episodes: Sequence[EpisodeSpan], no_ops: Mapping[int, int]) -> str:
    if not no_ops:
        return "not known"
    return f"{sum(no_ops[e.index] for e in episodes) / sum(e.num_frames for e in episodes):.1%}"


def _attempts(episodes: Sequence[EpisodeSpan], *, dropped: int = 0) -> str | None:
    """Successful of attempted episodes, where meta/vst_vla.json counts attempts."""
    if not all("tries" in episode.made for episode in episodes):
        return None
    tries = dropped + sum(episode.made["tries"] for episode in episodes)
    return f"{len(episodes)} of {tries} attempts ({len(episodes) / tries:.0%})"


def _dataset_facts(numbers: DatasetNumbers, no_ops: Mapping[int, int]) -> dict[str, object]:
    size = sum(path.stat().st_size for path in numbers.layout.folder.rglob("*") if path.is_file())
    info, features = numbers.layout.info, numbers.layout.features
    found: dict[str, object] = {
        "Format": f"LeRobot {info['codebase_version']}",
        "Robot": info.get("robot_type") or "not named",
        "Frames": f"{numbers.num_frames}, {numbers.num_frames / numbers.fps / 60:.1f} min",
        "Frames a second": f"{numbers.fps:g}",
        "Size on disk": f"{size / 2**20:.1f} MiB",
        "No-op share": _share(numbers.episodes, no_ops),
    }
    for camera in numbers.cameras:
        tall, wide = picture_shape(numbers.layout, camera)[:2]
        found[camera] = f"{wide} x {tall} px, {features[camera]['dtype']}"
    for key, values in numbers.vectors.items():
        found[key] = f"{values.shape[1]} numbers"
    if attempts := _attempts(numbers.episodes, dropped=numbers.layout.conventions.get("dropped", 0)):
        found["Success"] = attempts
    made = {name: numbers.layout.conventions.get(name) for name in ("suite", "assets", "seed")}
    return found | {name.capitalize(): value for name, value in made.items() if value is not None}


def _warnings(checks: Sequence[Check]) -> str:
    found = [check for check in checks if check.finding]
    if not found:
        return f'<div class="warnings none"><p>No warnings: {len(checks)} checks found nothing.</p></div>'
    lines = "".join(f"<li>{escape(f'{check.name}: {check.finding}')}.</li>" for check in found)
    return f'<div class="warnings"><p class="fail">{_count(len(found), "warning")}</p><ul>{lines}</ul></div>'


def _tasks(numbers: DatasetNumbers, samples: Sequence[Sample], no_ops: Mapping[int, int]) -> str:
    tasks = numbers.tasks
    links = "".join(f'<li><a href="#task-{i}">{escape(task)}</a></li>' for i, task in enumerate(tasks))
    sections = []
    for i, (task, episodes) in enumerate(tasks.items()):
        inside = _pictures([s for s in samples if s.episode.task == task]) + _episodes(numbers, episodes, no_ops)
        lengths = (
            f"{_count(len(episodes), 'episode')}, {sum(e.num_frames for e in episodes) / len(episodes):.0f} frames"
        )
        summary = f"{lengths} on average, no-ops {_share(episodes, no_ops)}"
        attempts = None if "dropped" in numbers.layout.conventions else _attempts(episodes)
        sections.append(
            f"<details{' open' if i == 0 or len(tasks) <= OPEN_TASKS else ''}><summary>"
            f'<span class="what">{escape(task)}</span>'
            f'<span class="note">{summary}{f", {attempts}" if attempts else ""}</span></summary>'
            f'<div class="inside" id="task-{i}">{inside}</div></details>'
        )
    listed = f'<nav aria-label="Tasks"><ol>{links}</ol></nav>' if len(tasks) > OPEN_TASKS else ""
    return f"<h2>Tasks</h2>{listed}{''.join(sections)}"


def _pictures(samples: Sequence[Sample]) -> str:
    if not samples:
        return '<p class="note">No pictures of this task are shown.</p>'
    return f'<div class="grid">{"".join(map(_card, samples))}</div>'


def _card(sample: Sample) -> str:
    name = f"episode {sample.episode.index}"
    alt = f"{name}: start, middle and end, a row a camera"
    sheet = f'<img alt="{alt}" src="{data_uri(sample.sheet, kind="image/jpeg")}">' if sample.sheet else ""
    movie = video(sample.film, label=name) if sample.film else ""
    left_out = "" if sample.film else "; the film would make the page too large"
    return (
        f'<figure>{sheet}{movie}<figcaption><div class="key"><span>{name}</span>'
        f"<span>{_count(sample.episode.num_frames, 'frame')}</span></div>"
        f'<div class="note">start, middle, end{left_out}</div></figcaption></figure>'
    )


def _episodes(numbers: DatasetNumbers, episodes: Sequence[EpisodeSpan], no_ops: Mapping[int, int]) -> str:
    shown = [name for name in MADE if any(e.made.get(name) for e in episodes)]
    rows = [
        [
            _cell(episode.index),
            _cell(episode.num_frames),
            _cell(f"{episode.num_frames / numbers.fps:.1f} s"),
            _cell(no_ops.get(episode.index, "not known")),
            *(_made(episode.made.get(name)) for name in shown),
        ]
        for episode in episodes
    ]
    return _table(["Episode", "Frames", "Time", "No-ops", *(MADE[name] for name in shown)], rows)


def _made(value: Any) -> str:
    if isinstance(value, Mapping):
        text = "; ".join(f"{name}: {json.dumps(what)}" for name, what in value.items())
        short = text if len(text) <= VARIATION_LENGTH else text[:VARIATION_LENGTH] + " …"
        return f'<td title="{escape(text)}">{escape(short)}</td>'
    return _cell("" if value is None else value)


def _cell(value: object) -> str:
    return f'<td class="number">{escape(str(value))}</td>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 0) -> str:
    """Rows of finished cells; the first `words` columns are text, the others numbers."""
    titles = "".join(
        f'<th scope="col"{"" if i < words else " class=number"}>{escape(title)}</th>' for i, title in enumerate(head)
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _plots(numbers: DatasetNumbers) -> str:
    lengths = np.array([episode.num_frames for episode in numbers.episodes])
    plots = [_plot("Episode length", histogram(lengths, label="episode length", unit="frames"))]
    columns = [column for column in summarise_columns(numbers) if column.feature == ACTION_KEY]
    for values, column in zip(numbers.vectors[ACTION_KEY].T, columns, strict=True):
        drawn = histogram(values, label=f"action {column.name}", unit="", marks=(column.q01, column.q99))
        plots.append(_plot(f"action {column.name}", drawn))
    return (
        f'<div class="grid">{"".join(plots)}</div>'
        '<p class="note">Counts of episodes and of frames; dashed lines are the 1 % and 99 % quantiles.</p>'
    )


def _plot(name: str, drawn: str) -> str:
    return f'<figure class="plot"><figcaption>{escape(name)}</figcaption>{drawn}</figure>'


def _statistics(numbers: DatasetNumbers) -> str:
    rows = [[_word(f"{column.feature} {column.name}"), *_numbers(column)] for column in summarise_columns(numbers)]
    return _table(["Dimension", "Min", "q01", "Mean", "q99", "Max", "Clipped"], rows, words=1)


def _numbers(column: Column) -> list[str]:
    values = (column.min, column.q01, column.mean, column.q99, column.max)
    limit = "" if column.at_limit is None else f"{column.at_limit:.1%}"
    return [*(_cell(f"{value:.4g}") for value in values), _cell(limit)]


def _word(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _checked(checks: Sequence[Check]) -> str:
    rows = [[_word(check.name), _word(check.looked_at), _word(check.finding or "nothing found")] for check in checks]
    table = _table(["Check", "Looked at", "Found"], rows, words=3)
    return f"<h2>Checks</h2>{table}"


def _about(numbers: DatasetNumbers, samples: Sequence[Sample]) -> str:
    films = sum(bool(sample.film) for sample in samples)
    return (
        f"Numbers are those of all {numbers.num_frames} frames, computed from the data. Pictures are a sample: "
        f"{len(samples)} of {_count(len(numbers.episodes), 'episode')} in "
        f"{len({sample.episode.task for sample in samples})} of {_count(len(numbers.tasks), 'task')}, evenly chosen, "
        f"made smaller and compressed; {films} of them are filmed, all cameras side by side at full speed. "
        "A no-op is a frame without motion whose gripper command is that of the last frame kept; an action is clipped "
        "where it is exactly at the end of its range."
    )
