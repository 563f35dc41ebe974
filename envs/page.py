"""What our HTML pages share: one file each, no script, nothing fetched from anywhere, legible in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ground: #f7f7f4; --card: #ffffff; --ink: #1d2320; --soft: #626b66; --line: #dcdfd9;
  --accent: #1f7a4d; --alarm: #b3392f; --track: #e7e9e4; }
@media (prefers-color-scheme: dark) { :root { --ground: #141715; --card: #1d211f; --ink: #e8ebe7; --soft: #98a29b;
  --line: #313733; --accent: #56c08a; --alarm: #ef8176; --track: #2b302d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
h1 { font-size: 1.35rem; font-weight: 600; margin: 0 0 1.5rem; text-wrap: balance; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; font-weight: 600; margin: 3rem 0 .9rem; }
td, dd, .key { font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .94rem; }
th { text-align: left; font-weight: 500; color: var(--soft); }
th, td { padding: .5rem .9rem .5rem 0; border-bottom: 1px solid var(--line); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 1rem 1.5rem; margin: 0; }
dt { font-size: .85rem; color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
figcaption { padding: .55rem .75rem .65rem; font-size: .88rem; }
video { display: block; width: 100%; background: var(--track); object-fit: contain; }
.key { display: flex; justify-content: space-between; font-weight: 600; }
.pass { color: var(--accent); } .fail { color: var(--alarm); }
.note { color: var(--soft); }
"""


def document(body: Sequence[str], *, title: str, style: str) -> str:
    """A whole page: `title` as text, `style` after the shared one, `body` as HTML blocks."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def facts(values: Mapping[str, object]) -> str:
    """Names with their values, given as plain text."""
    rows = (f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in values.items())
    return f"<dl>{''.join(rows)}</dl>"


def data_uri(content: bytes, *, kind: str) -> str:
    """A file's content as an address; `kind` is its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def video(content: bytes, *, label: str) -> str:
    """A player for the content of an MP4 file; `label` says what it shows, as plain text."""
    named = f'aria-label="{escape(label)}" src="{data_uri(content, kind="video/mp4")}"'
    return f'<video controls muted loop playsinline preload="metadata" {named}></video>'
