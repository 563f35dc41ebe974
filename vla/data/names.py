"""Where prompts name the classes that pictures are labelled with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from vst_vla.vla.prompt import IGNORED, Encoded


class ClassNames:
    """Finds the names of classes ("alphabet soup") in encoded prompts.

    Args:
        classes: by their number; the first is no object's.
        tokenizer: in whose tokens the prompts are.
    """

    def __init__(self, classes: Sequence[str], *, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokens = [tokenizer.encode(f" {name}", add_special_tokens=False) for name in classes]

    def ends(self, row: Encoded, number: int) -> Iterator[int]:
        """Where a class is named behind the row's pictures: the places of its name's last token."""
        return name_ends(row, self._tokens[number])

    def in_row(self, row: Encoded) -> list[tuple[int, int]]:
        """Every name in a prompt: its place among the prompt's tokens, and its class."""
        return [(place, number) for number in range(1, len(self._tokens)) for place in self.ends(row, number)]


def name_ends(row: Encoded, name: list[int]) -> Iterator[int]:
    """Where a name ends in what is asked behind the pictures."""
    begin = visual_places(row)[-1] + 1
    for end in range(begin + len(name), len(row.input_ids) + 1):
        if row.labels[end - 1] == IGNORED and row.input_ids[end - len(name) : end] == name:
            yield end - 1


def visual_places(row: Encoded) -> list[int]:
    """Where the row's visual tokens are."""
    return [place for place, kind in enumerate(row.mm_token_type_ids) if kind]
