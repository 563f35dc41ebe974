"""Action chunks as few words: cosine transform over time, rounding, byte-pair merges of what is left.

After FAST (Pertsch et al. 2025), in the file format of the published tokenizer (physical-intelligence/fast), so that a
folder of either kind can be read: `tokenizer.json` has the merges, `processor_config.json` scale and offset. Smooth
chunks have most of their energy in the lowest frequencies, which come first.

Letters in shapes: n chunks, C chunk, A action.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.fft import dct, idct
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from vst_vla.vla.contracts import Array
from vst_vla.vla.files import write_json

MERGES_FILE = "tokenizer.json"
SETTINGS_FILE = "processor_config.json"
SMALLEST = 256
"""Every byte needs a word."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FastCodec:
    """Chunks (C,A) <-> lists of word numbers.

    Attributes:
        merges: the byte-pair tokenizer; coefficient c is the character c - offset.
        scale: coefficients are multiplied by it and rounded.
        offset: least rounded coefficient of the training set.
    """

    merges: Tokenizer
    scale: float
    offset: int

    @classmethod
    def fit(cls, chunks: Array, *, num_words: int, scale: float) -> FastCodec:
        """From normalised chunks (n,C,A). The same chunks give the same words.

        Raises:
            ValueError: fewer words than bytes.
        """
        if num_words < SMALLEST:
            raise ValueError(f"num_words of head fast is {num_words}, expected at least {SMALLEST}, one for every byte")
        coefficients = _coefficients(chunks, scale=scale)
        offset = int(coefficients.min())
        merges = Tokenizer(BPE())
        merges.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        merges.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = BpeTrainer(vocab_size=num_words, initial_alphabet=alphabet, min_frequency=2, show_progress=False)
        merges.train_from_iterator(_texts(coefficients, offset=offset), trainer=trainer)
        return cls(merges=merges, scale=scale, offset=offset)

    @classmethod
    def load(cls, folder: str | Path) -> FastCodec:
        """Reads a folder that `save` wrote, or that holds the published tokenizer.

        Raises:
            ValueError: a file is missing or something else.
        """
        folder = Path(folder)
        for name in (MERGES_FILE, SETTINGS_FILE):
            if not (folder / name).is_file():
                raise ValueError(f"no action tokenizer at '{folder}' ({name} is missing): copy the folder again")
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        for name in ("scale", "min_token"):
            if name not in settings:
                raise ValueError(f"'{folder / SETTINGS_FILE}' has no '{name}', expected FAST's settings")
        merges = Tokenizer.from_file(str(folder / MERGES_FILE))
        return cls(merges=merges, scale=float(settings["scale"]), offset=int(settings["min_token"]))

    def save(self, folder: Path) -> None:
        """Writes both files into `folder`, which is made."""
        folder.mkdir()
        self.merges.save(str(folder / MERGES_FILE))
        write_json(
            folder / SETTINGS_FILE, {"scale": self.scale, "min_token": self.offset, "vocab_size": self.num_words}
        )

    @property
    def num_words(self) -> int:
        """Words in use."""
        return int(self.merges.get_vocab_size())

    def encode(self, chunks: Array) -> list[list[int]]:
        """Normalised chunks (n,C,A) -> each one's word numbers."""
        texts = _texts(_coefficients(chunks, scale=self.scale), offset=self.offset)
        return [encoding.ids for encoding in self.merges.encode_batch(list(texts))]

    def decode(self, words: Sequence[int], *, chunk: int, action_dim: int) -> Array:
        """Word numbers -> (C,A) float32. Coefficients that are missing or no text at all count as 0, extra ones not."""
        text = self.merges.decode(list(words), skip_special_tokens=False)[: chunk * action_dim]
        values = [0 if letter == "\N{REPLACEMENT CHARACTER}" else ord(letter) + self.offset for letter in text]
        flat = np.zeros(chunk * action_dim)
        flat[: len(values)] = values
        restored: Array = idct(flat.reshape(chunk, action_dim) / self.scale, axis=0, norm="ortho")
        return restored.astype(np.float32)


def _coefficients(chunks: Array, *, scale: float) -> Array:
    """(n,C,A) -> (n,C,A) whole numbers, lowest frequency first."""
    rounded: Array = np.around(dct(chunks.astype(np.float64), axis=1, norm="ortho") * scale).astype(int)
    return rounded


def _texts(coefficients: Array, *, offset: int) -> Iterator[str]:
    for chunk in np.maximum(coefficients - offset, 0):
        yield "".join(map(chr, chunk.flatten()))
