"""How many tokens each conversation takes, counted once and kept in the user's cache.

Counting reads texts and the headers of pictures; nothing is decoded.
Letters in shapes: n rows.
"""

from __future__ import annotations

import hashlib
import json
import logging

import numpy as np
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.data.questions import QuestionRows
from vst_vla.vla.files import cache_root, replacing_file

UNUSABLE = -1
ROWS_AT_ONCE = 64

log = logging.getLogger(__name__)


class Lengths(Dataset[int]):
    """Length of each row, `UNUSABLE` where it cannot be read."""

    def __init__(self, rows: QuestionRows, *, collator: Collator) -> None:
        self.rows, self.collator = rows, collator

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> int:
        """Tokens of one row."""
        outline = self.rows.outline(index)
        return UNUSABLE if outline is None else self.collator.count_tokens(outline)


def measure(rows: QuestionRows, *, collator: Collator, num_workers: int = 0) -> Array:
    """(n,) int32 tokens of every row, out of the cache when the same files were measured before."""
    path = cache_root() / "lengths" / f"{_name(rows, collator)}.npy"
    if path.is_file():
        return np.load(path)
    loader = DataLoader(Lengths(rows, collator=collator), batch_size=ROWS_AT_ONCE, num_workers=num_workers)
    lengths = np.empty(len(rows), np.int32)
    with tqdm(total=len(rows), desc="counting tokens", unit="row") as bar:
        for batch in loader:
            lengths[bar.n : bar.n + len(batch)] = batch
            bar.update(len(batch))
    with replacing_file(path) as fresh, fresh.open("wb") as file:
        np.save(file, lengths)
    return lengths


def usable(lengths: Array, *, limit: int, name: str) -> Array:
    """Which rows fit, as indices; the others are counted in the log.

    Raises:
        ValueError: none does.
    """
    kept = np.flatnonzero((lengths != UNUSABLE) & (lengths <= limit))
    unusable, too_long = int((lengths == UNUSABLE).sum()), int((lengths > limit).sum())
    if unusable or too_long:
        log.warning("%s: left out %d rows of more than %d tokens and %d unusable", name, too_long, limit, unusable)
    if not len(kept):
        raise ValueError(
            f"{name} has no conversation of at most {limit} tokens ({too_long} are longer, {unusable} unusable): "
            "raise recipe.max_tokens and recipe.pack_tokens, or lower recipe.max_pixels"
        )
    return kept


def _name(rows: QuestionRows, collator: Collator) -> str:
    """A hash of the files' paths, sizes and times, of the tokenizer, and of what else lengths depend on."""
    digest = hashlib.sha256(json.dumps(rows.settings(), sort_keys=True).encode())
    digest.update(collator.processor.tokenizer.backend_tokenizer.to_str().encode())
    for path in rows.records.files:
        stat = path.stat()
        digest.update(repr((str(path.resolve()), stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:24]
