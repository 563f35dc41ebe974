"""The page about a folder of spatial questions, from its survey and the sampled questions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from vst_vla.envs.page import data_uri, document, facts, video
from vst_vla.policies.qa_survey import FamilySurvey, Survey
from vst_vla.vla.data.record_files import Skipped

LONG_QUESTION = 360  # characters; of a longer one with several lines, the last is shown above the whole text
MAX_SKIPPED = 20  # unusable rows that are named

STYLE = """
main { max-width: 84rem; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.family { border-top: 1px solid var(--line); } .family:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; }
.family > summary { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .1rem 1.5rem;
  padding: .7rem 0; }
.family > summary::before { content: "+"; width: .8rem; color: var(--accent); font-weight: 700; }
.family[open] > summary::before { content: "\\2212"; }
summary .what { flex: 1 1 20rem; font-weight: 600; }
.family > .inside { padding: .3rem 0 1.6rem; scroll-margin-top: 1rem; }
.grid { grid-template-columns: repeat(auto-fill, minmax(min(25rem, 100%), 1fr)); align-items: start; }
.shown { display: flex; flex-wrap: wrap; gap: 2px; background: var(--track); }
.picture { position: relative; flex: 1 1 45%; min-width: 6rem; } .frames .picture { flex: 1 1 22%; min-width: 4rem; }
.picture img { display: block; width: 100%; height: auto; }
.picture svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.picture svg :is(path, rect, circle) { fill: none; stroke-width: 1.6px; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; }
.picture svg .under { stroke: #000; stroke-opacity: .55; stroke-width: 3.6px; }
.picture svg text { font-family: system-ui, sans-serif; font-weight: 600; paint-order: stroke; stroke: #000;
  stroke-opacity: .75; stroke-width: 2.4px; }
figcaption > * { margin: .45rem 0 0; } figcaption .key { margin: 0; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; }
.answer { border-left: 3px solid var(--accent); padding-left: .6rem; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; margin: .3rem 0 0; max-height: 24rem;
  overflow-y: auto; }
td.number, th.number { text-align: right; white-space: nowrap; }
.warnings { margin: 1.8rem 0 0; padding: .8rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-left: 4px solid var(--alarm); border-radius: 4px; }
.warnings ul { margin: .3rem 0 0; padding-left: 1.2rem; } .warnings p { margin: 0; }
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One picture as it is shown."""

    content: bytes  # JPEG
    overlay: str  # SVG, or ""
    size: tuple[int, int]  # width and height of the stored one, px


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One question as it is shown."""

    name: str
    kind: str  # record type
    source: str
    question: str
    thought: str | None
    answer: str
    model_text: str
    about: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()  # a video's frames
    films: tuple[bytes, ...] = ()  # MP4
    left_out: bool = False  # files of it did not fit into the page


def render_page(
    name: str,
    found: Survey,
    samples: Mapping[str, Sequence[Sample]],
    *,
    skipped: Sequence[Skipped],
    manifest: Mapping[str, Any],
) -> str:
    """The whole page as HTML."""
    title = f"{name}: {_count(found.count, 'question')} of {_families(len(found.families))}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        facts(_facts(found, manifest)),
        _warnings(found.damaged, skipped),
        f"<h2>Families</h2>{_table(found)}",
        "<h2>Questions</h2>",
        *(_section(family, samples.get(family.name, ()), is_open=i == 0) for i, family in enumerate(found.families)),
        f'<h2>About this page</h2><p class="note">{_about(found, samples)}</p>',
    ]
    return document(parts, title=title, style=STYLE)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _families(number: int) -> str:
    return "1 family" if number == 1 else f"{number} families"


def _facts(found: Survey, manifest: Mapping[str, Any]) -> dict[str, object]:
    levels: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for family in found.families:
        levels[family.level or "not said"] += family.count
        kinds.update(family.kinds)
    said: dict[str, object] = {"Levels": _listed(levels), "Record types": _listed(kinds)}
    settings = manifest.get("settings", {})
    if tasks := settings.get("tasks"):
        said["Suites"] = ", ".join(dict.fromkeys(suite for suite, _ in tasks))
    said |= {key.capitalize(): manifest[key] for key in ("assets",) if key in manifest}
    return said | {key.capitalize(): settings[key] for key in ("seed", "mirror") if key in settings}


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _warnings(damaged: int, skipped: Sequence[Skipped]) -> str:
    if not damaged and not skipped:
        return ""
    lines = [f"{_count(damaged, 'row')} cannot be read: the file is damaged"] if damaged else []
    lines += [f"row {row} of {file.name}: {reason}" for file, row, reason in skipped[:MAX_SKIPPED]]
    if len(skipped) > MAX_SKIPPED:
        lines.append(f"and {len(skipped) - MAX_SKIPPED} more")
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="warnings"><p class="fail">Rows that training leaves out</p><ul>{items}</ul></div>'


def _table(found: Survey) -> str:
    head = ("Family", "Level", "Types", "Questions", "Share", "Reasoned", "Mean length", "Most frequent answer")
    titles = "".join(f'<th scope="col"{_number(i)}>{title}</th>' for i, title in enumerate(head))
    rows = "".join(f"<tr>{''.join(_cells(family, found.count))}</tr>" for family in found.families)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></div>'


def _number(column: int) -> str:
    return ' class="number"' if 3 <= column <= 6 else ""


def _cells(family: FamilySurvey, total: int) -> list[str]:
    common = family.answers.most_common(1)
    frequent = f"{common[0][0]} ({common[0][1] / family.count:.0%})" if common else "all are long"
    values = [
        family.level,
        ", ".join(sorted(family.kinds)),
        str(family.count),
        f"{family.count / total:.1%}",
        f"{family.thinking / family.count:.0%}",
        f"{family.characters / family.count:.0f} characters",
        frequent,
    ]
    link = f'<td><a href="#{_anchor(family)}">{escape(family.name)}</a></td>'
    return [link, *(f"<td{_number(i)}>{escape(value)}</td>" for i, value in enumerate(values, start=1))]


def _anchor(family: FamilySurvey) -> str:
    return "family-" + "".join(c if c.isalnum() else "-" for c in family.name)


def _section(family: FamilySurvey, samples: Sequence[Sample], *, is_open: bool) -> str:
    cards = "".join(map(_card, samples)) or '<p class="note">None of the chosen rows can be used.</p>'
    level = f"level {family.level}, " if family.level else ""
    return (
        f'<details class="family"{" open" if is_open else ""}><summary><span class="what">{escape(family.name)}</span>'
        f'<span class="note">{level}{_count(family.count, "question")}, {len(samples)} shown</span></summary>'
        f'<div class="inside grid" id="{_anchor(family)}">{cards}</div></details>'
    )


def _card(sample: Sample) -> str:
    pictures = "".join(_picture(sample, place) for place in range(len(sample.pictures)))
    frames = " frames" if sample.films or len(sample.pictures) > 4 else ""
    films = "".join(video(content, label=f"video of {sample.name}") for content in sample.films)
    shown = f'<div class="shown{frames}">{pictures}</div>' if pictures else ""
    missing = '<p class="note">Files that would make the page too large are left out.</p>' if sample.left_out else ""
    thought = _fold("Reasoning", f'<p class="said">{escape(sample.thought)}</p>') if sample.thought else ""
    return (
        f'<figure id="{escape(sample.name)}">{films}{shown}<figcaption>'
        f'<div class="key"><span>{escape(sample.name)}</span><span>{escape(sample.kind)}</span></div>{missing}'
        f'<p class="said">{escape(_short(sample.question))}</p>{thought}'
        f'<p class="said answer">{escape(sample.answer)}</p>'
        f"{_fold('Text as the model reads it', _pre(sample.model_text))}{_details(sample)}</figcaption></figure>"
    )


def _picture(sample: Sample, place: int) -> str:
    picture = sample.pictures[place]
    what = "frame" if sample.films else "picture"
    alt = f"{what} {place + 1} of {len(sample.pictures)}, {picture.size[0]} x {picture.size[1]} px"
    image = f'<img alt="{alt}" src="{data_uri(picture.content, kind="image/jpeg")}">'
    return f'<div class="picture">{image}{picture.overlay}</div>'


def _short(question: str) -> str:
    lines = question.strip().splitlines()
    return question if len(question) <= LONG_QUESTION or len(lines) == 1 else f"… {lines[-1]}"


def _details(sample: Sample) -> str:
    content = {"source": sample.source, **sample.about}
    return _fold("What it is about", _pre(json.dumps(content, indent=1, ensure_ascii=False)))


def _fold(title: str, inside: str) -> str:
    return f"<details><summary>{title}</summary>{inside}</details>"


def _pre(text: str) -> str:
    return f'<pre tabindex="0">{escape(text)}</pre>'


def _about(found: Survey, samples: Mapping[str, Sequence[Sample]]) -> str:
    shown = sum(map(len, samples.values()))
    return (
        f"Counts are those of all {found.count} questions. {shown} of them are shown, evenly chosen from each family, "
        "their pictures made smaller and compressed. Boxes in space are drawn from the answer's numbers with the lens "
        "that the question states; rings stand where points are said to be. The text as the model reads it follows "
        "field-of-view unification to VST's own camera; each picture stands there as one token."
    )
