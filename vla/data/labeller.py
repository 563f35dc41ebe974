"""The part of a batch of conversations that says what its pictures show, and where that is named.

Names are those of objects ("the plate") and of points drawn on the pictures ("red point").

Letters: V labelled visual tokens of a batch, c cells of a token's side, M names, P pairs of a name and a cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from vst_vla.vla.contracts import Array
from vst_vla.vla.data.names import ClassNames, name_ends, visual_places
from vst_vla.vla.data.picture_labels import EACH, LabelTable, token_labels
from vst_vla.vla.data.turns import asked_names
from vst_vla.vla.geometry.cells import TOKEN_PX
from vst_vla.vla.prompt import ANSWER_HEADER, Encoded

COLOURS = ("red", "green", "blue", "yellow", "magenta")
"""Names of the points that `vst-vla qa` draws without a letter."""
CIRCLE = "circle"
LETTERS = tuple("ABCDEF")
NUMBERS = tuple("123456")
MARKS = (None, *COLOURS, CIRCLE, *LETTERS, *NUMBERS)
"""What can be drawn on a cell, by its number; 0 is nothing, or a point of another name."""


class Labeller:
    """Gathers the labels of a batch's records.

    Args:
        table: of the run.
        tokenizer: in whose tokens the classes are named.
    """

    def __init__(self, table: LabelTable, *, tokenizer: PreTrainedTokenizerBase) -> None:
        self._table, self._tokenizer = table, tokenizer
        self._names = ClassNames(table.classes, tokenizer=tokenizer)
        self._header = len(tokenizer.encode(ANSWER_HEADER, add_special_tokens=False))
        self._points = {
            name: [tokenizer.encode(f" {name}{dash}point", add_special_tokens=False) for dash in " -"]
            for name in COLOURS
        }
        self._points[CIRCLE] = [tokenizer.encode(" circled point", add_special_tokens=False)]
        self._points |= {name: [tokenizer.encode(f" {name}", add_special_tokens=False)] for name in LETTERS}
        self._points |= {name: [tokenizer.encode(f" point-{name}", add_special_tokens=False)] for name in NUMBERS}

    def __call__(
        self, records: Sequence[dict[str, Any]], *, rows: Sequence[Encoded], starts: Sequence[int]
    ) -> dict[str, torch.Tensor]:
        """What there is of these.

        `token_cells` (V,c*c,5), `cell_tokens` (V,): where those tokens are, `token_poses` (V,3,4): of their cameras,
        `token_marks` (V,c*c) of `MARKS`, `mentions` (M,4), `meant` (P,2) and `recalls` (R,1+MOST). A mention is the
        place of a name's last token in a question, the first and one past the last of the V tokens that it can mean,
        and the pictures that those show. What it does mean are pairs of its number and of a cell's among the V * c * c.
        A recall is a place that a token of an answer is predicted from, and the numbers of its question's mentions.

        Args:
            records: of the batch, their pictures of the final size.
            rows: the same, encoded.
            starts: where each begins among the batch's token ids, flattened.

        Raises:
            ValueError: labels that cannot be read.
        """
        cells, places, mentions, meant = list[Array](), list[int](), list[tuple[int, ...]](), list[Array]()
        poses, marks, recalls = list[Array](), list[Array](), list[tuple[int, ...]]()
        for record, row, start in zip(records, rows, starts, strict=True):
            labels = self._table.read(record)
            if labels is None:
                continue
            shown, first, drawn = _by_token(labels, record), len(places), list(_drawn_points(record))
            cells += shown
            poses += [np.repeat(self._table.poses(record), [len(each) for each in shown], axis=0)]
            marks += [_marks(drawn, num_tokens=sum(map(len, shown)))]
            places += [start + place for place in visual_places(row)]
            named = list(self._named(row, drawn, shown=np.concatenate(shown)))
            for place, numbers in asked_names(row, named, header=self._header):
                offset = len(mentions)
                recalls.append((start + place, *[number + offset if number >= 0 else number for number in numbers]))
            for place, found in named:
                meant.append(np.stack([np.full(len(found), len(mentions)), first * EACH**2 + found], axis=1))
                mentions.append((start + place, first, len(places), len(labels)))
        if not cells:
            return {}
        gathered = {"token_cells": cells, "token_poses": poses, "token_marks": marks}
        batch = {name: torch.from_numpy(np.concatenate(parts)) for name, parts in gathered.items()}
        batch["cell_tokens"] = torch.tensor(places)
        if mentions:
            batch |= {"mentions": torch.tensor(mentions), "meant": torch.from_numpy(np.concatenate(meant))}
        if recalls:
            batch["recalls"] = torch.tensor(recalls)
        return batch

    def _named(self, row: Encoded, drawn: Sequence[tuple[str, int]], *, shown: Array) -> Iterator[tuple[int, Array]]:
        """Where the question behind the pictures names something: last token, numbers of the cells that show it."""
        classes = shown[..., 0].ravel()
        for number in sorted(set(classes.tolist()) - {0}):
            for place in self._names.ends(row, number):
                yield place, np.flatnonzero(classes == number)
        for name, cell in drawn:
            for words in self._points.get(name, ()):
                for place in name_ends(row, words):
                    if not self._goes_on(row, place):
                        yield place, np.array([cell])

    def _goes_on(self, row: Encoded, place: int) -> bool:
        """Whether the word does, as "And" goes on behind an "A" that is a token."""
        return bool(self._tokenizer.decode(row.input_ids[place + 1 : place + 2])[:1].isalnum())


def _marks(drawn: Sequence[tuple[str, int]], *, num_tokens: int) -> Array:
    """The number of what is drawn on each cell, (V,c*c) int64."""
    marks = np.zeros(num_tokens * EACH**2, dtype=np.int64)
    for name, cell in drawn:
        marks[cell] = MARKS.index(name) if name in MARKS else 0
    return marks.reshape(num_tokens, -1)


def _drawn_points(record: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The points drawn on the pictures: name, number of the cell among those of all pictures."""
    grids = _grids(record)
    sizes = [(entry["height"], entry["width"]) for entry in record["meta_info"]]
    for name, row, column, image in record["meta_info"][0].get("marks", ()):
        (height, width), (rows, columns) = sizes[image], grids[image]
        down, right = int((row + 0.5) / height * rows * EACH), int((column + 0.5) / width * columns * EACH)
        token = sum(h * w for h, w in grids[:image]) + down // EACH * columns + right // EACH
        yield name, token * EACH**2 + down % EACH * EACH + right % EACH


def _by_token(labels: Sequence[Array], record: dict[str, Any]) -> list[Array]:
    return [token_labels(each, grid=grid) for each, grid in zip(labels, _grids(record), strict=True)]


def _grids(record: dict[str, Any]) -> list[tuple[int, int]]:
    return [(picture.shape[0] // TOKEN_PX, picture.shape[1] // TOKEN_PX) for picture in record["images"]]
