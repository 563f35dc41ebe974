"""The part of a batch of conversations that says what its pictures show, and where that is named.

Letters: V labelled visual tokens of a batch, c cells of a token's side, M names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.picture_labels import LabelTable, shown_classes, token_labels
from vst_vla.vla.geometry.cells import TOKEN_PX
from vst_vla.vla.prompt import IGNORED, Encoded


class Labeller:
    """Gathers the labels of a batch's records.

    Args:
        table: of the run.
        tokenizer: in whose tokens the classes are named.
    """

    def __init__(self, table: LabelTable, *, tokenizer: PreTrainedTokenizerBase) -> None:
        self._table = table
        self._names = [tokenizer.encode(f" {name}", add_special_tokens=False) for name in table.classes]

    def __call__(
        self, records: Sequence[dict[str, Any]], *, rows: Sequence[Encoded], starts: Sequence[int]
    ) -> dict[str, torch.Tensor]:
        """`token_cells` (V,c*c,5), `cell_tokens` (V,): where those tokens are, `mentions` (M,5); what there is of them.

        A mention is the place of a name's last token in a question, its class, the first and one past the last of the
        V tokens that it can mean, and the pictures that those show.

        Args:
            records: of the batch, their pictures of the final size.
            rows: the same, encoded.
            starts: where each begins among the batch's token ids, flattened.

        Raises:
            ValueError: labels that cannot be read.
        """
        cells, places, mentions = list[Array](), list[int](), list[tuple[int, ...]]()
        for record, row, start in zip(records, rows, starts, strict=True):
            labels = self._table.read(record)
            if labels is not None:
                shown, first = _by_token(labels, record), len(places)
                cells += shown
                places += [start + place for place in _visual(row)]
                named = self._named(row, classes=shown_classes(shown))
                mentions += [(start + place, number, first, len(places), len(labels)) for place, number in named]
        if not cells:
            return {}
        batch = {"token_cells": torch.from_numpy(np.concatenate(cells)), "cell_tokens": torch.tensor(places)}
        return batch | ({"mentions": torch.tensor(mentions)} if mentions else {})

    def _named(self, row: Encoded, *, classes: set[int]) -> Iterator[tuple[int, int]]:
        """Where the question behind the pictures names one of the classes, background left out: last token, class."""
        begin = _visual(row)[-1] + 1
        for number in sorted(classes - {0}):
            name = self._names[number]
            for end in range(begin + len(name), len(row.input_ids) + 1):
                if row.labels[end - 1] == IGNORED and row.input_ids[end - len(name) : end] == name:
                    yield end - 1, number


def _by_token(labels: Sequence[Array], record: dict[str, Any]) -> list[Array]:
    grids = [(picture.shape[0] // TOKEN_PX, picture.shape[1] // TOKEN_PX) for picture in record["images"]]
    return [token_labels(each, grid=grid) for each, grid in zip(labels, grids, strict=True)]


def _visual(row: Encoded) -> list[int]:
    return [place for place, kind in enumerate(row.mm_token_type_ids) if kind]
