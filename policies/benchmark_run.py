"""A backbone's replies to a benchmark, asked once, kept on disk, and scored.

OUT/settings.json    what must be the same for a run to go on
OUT/replies.jsonl    {id, reply}, a line an item, written as soon as it is there
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import batched
from pathlib import Path
from typing import Any, Protocol

from vst_vla.vla.answering import Asked
from vst_vla.vla.benchmarks import Benchmark
from vst_vla.vla.benchmarks.base import Scored
from vst_vla.vla.benchmarks.item import Item, open_pictures
from vst_vla.vla.settings import claim_run

REPLIES = "replies.jsonl"
AHEAD = 8
"""Batches that are looked through for items to ask together: a batch takes as long as its longest reply."""

log = logging.getLogger(__name__)


class Answers(Protocol):
    """What replies to questions; `answering.Answerer` is one."""

    def answer(self, questions: Sequence[Asked]) -> list[str]:
        """One reply a question."""
        ...


def run_benchmark(
    benchmark: Benchmark,
    *,
    data: Path,
    out: Path,
    answerer: Answers | None,
    settings: Mapping[str, Any],
    batch_size: int = 1,
    limit: int | None = None,
) -> list[Scored]:
    """Asks what has no reply in OUT yet and scores every item that has one.

    Args:
        benchmark: questions and scorer.
        data: folder with the benchmark's files.
        out: folder of the run.
        answerer: who replies; None scores the replies that are there.
        settings: what must be equal for replies of an earlier run to count.
        batch_size: questions at once.
        limit: only the first so many items.

    Raises:
        ValueError: files that do not fit, two items of one name, replies of another run, or nothing to score.
    """
    if answerer is not None:
        claim_run(out, settings, out=out, advice="give another out=…")
    replies = _read_replies(out / REPLIES)
    items: dict[str, Item] = {}
    for ahead in batched(_first(benchmark.items(data), limit), AHEAD * batch_size):
        for item in ahead:
            if item.id in items:
                raise ValueError(f"'{data}' holds two items called '{item.id}': give one split of {benchmark.name}")
            items[item.id] = replace(item, pictures=())
        if answerer is None:
            continue
        waiting = sorted((item for item in ahead if item.id not in replies), key=_reply_length)
        for group in batched(waiting, batch_size):
            replies |= _ask(group, answerer, out / REPLIES)
    answered = [item for item in items.values() if item.id in replies]
    if not answered:
        raise ValueError(f"'{out}' holds no reply to an item of '{data}': give checkpoint=… to ask a model")
    return [benchmark.score(item, reply=replies[item.id]) for item in answered]


def _reply_length(item: Item) -> int:
    return len(item.truth)


def _first(items: Iterator[Item], limit: int | None) -> Iterator[Item]:
    for number, item in enumerate(items):
        if limit is not None and number >= limit:
            return
        yield item


def _ask(items: Sequence[Item], answerer: Answers, path: Path) -> dict[str, str]:
    asked = [Asked(id=item.id, prompt=item.prompt, pictures=open_pictures(item)) for item in items]
    replies = {item.id: reply for item, reply in zip(items, answerer.answer(asked), strict=True)}
    lines = [json.dumps({"id": name, "reply": reply}) + "\n" for name, reply in replies.items()]
    with path.open("ab") as file:
        file.write("".join(lines).encode())
        file.flush()
        os.fsync(file.fileno())
    log.info("%s: %d replies", path, len(replies))
    return replies


def _read_replies(path: Path) -> dict[str, str]:
    """Every whole line; one that a kill tore off is cut away."""
    if not path.is_file():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    replies = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            entry = json.loads(line)
            replies[str(entry["id"])] = str(entry["reply"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"line {number} of '{path}' is no reply, expected {{id, reply}}: remove it") from error
    return replies
