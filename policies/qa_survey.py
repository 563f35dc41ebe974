"""What a folder of spatial questions holds, family by family, read without its pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vst_vla.vla.data.record_files import Record, scan_rows

COLUMNS = ("conversations", "data_source", "type", "meta_info")
ANSWER_LENGTH = 40
"""Characters up to which answers are counted by what they say."""


@dataclass(eq=False)
class FamilySurvey:
    """One family of questions."""

    name: str
    level: str  # "" when nobody says
    places: list[tuple[int, int]] = field(default_factory=list)  # (file, row in it) of every question
    kinds: Counter[str] = field(default_factory=Counter)  # record types
    answers: Counter[str] = field(default_factory=Counter)  # short ones
    thinking: int = 0
    characters: int = 0  # of all questions

    @property
    def count(self) -> int:
        """How many questions."""
        return len(self.places)

    def evenly(self, count: int) -> list[tuple[int, int]]:
        """At most `count` of the places, from the first to the last."""
        chosen = np.unique(np.linspace(0, self.count - 1, count).round().astype(int))
        return [self.places[i] for i in chosen]

    def add(self, place: tuple[int, int], row: Record) -> None:
        """Counts one question."""
        turns = [turn for turn in row["conversations"] or [] if turn and turn.get("value")]
        answer = turns[-1]["value"].rpartition("</think>")[2].strip() if turns else ""
        self.places.append(place)
        self.kinds[row["type"] or "mm_qa"] += 1
        self.thinking += "thought" in (row["type"] or "")
        self.characters += len(turns[0]["value"]) if turns else 0
        if len(answer) <= ANSWER_LENGTH:
            self.answers[answer] += 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """What all files hold."""

    families: tuple[FamilySurvey, ...]
    damaged: int  # rows that cannot even be read

    @property
    def count(self) -> int:
        """How many questions."""
        return sum(family.count for family in self.families)


def survey(files: Sequence[Path]) -> Survey:
    """Every family in the order of its name; rows that do not name one go by where they come from.

    Raises:
        ValueError: a file is not parquet, or lacks a column.
    """
    found: dict[str, FamilySurvey] = {}
    damaged = 0
    for number, path in enumerate(files):
        for place, row in scan_rows(path, columns=COLUMNS):
            if row is None:
                damaged += 1
                continue
            meta = _meta(row["meta_info"])
            name = str(meta.get("family") or row["data_source"] or row["type"])
            found.setdefault(name, FamilySurvey(name, str(meta.get("level", "")))).add((number, place), row)
    return Survey(families=tuple(found[name] for name in sorted(found)), damaged=damaged)


def _meta(text: str | None) -> dict[str, Any]:
    """What is said about the first picture; empty for rows that a reader will skip."""
    try:
        entries = json.loads(text or "[]")
    except json.JSONDecodeError:
        return {}
    return entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
