"""Reads a page that the package wrote."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """A page's tags with their attributes, its text, its tables' rows, and the files in it by their tag."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def count(self, tag: str) -> int:
        return len(self.found(tag))

    def found(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def files(self, tag: str) -> list[bytes]:
        return [base64.b64decode(attrs["src"].split("base64,")[1]) for attrs in self.found(tag)]

    def figure(self, name: str) -> str:
        return self.source.split(f'<figure id="{name}">')[1].split("</figure>")[0]
