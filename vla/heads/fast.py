"""Action chunks as few words (FAST: cosine transform and byte-pair merges), written one after another.

Letters in shapes: B batch, n chunks, C chunk, A action, T words, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from vst_vla.vla.contracts import Array
from vst_vla.vla.heads.base import ActingPrompts, ActionHead, Prompts, Sizes, state_slot, token_loss
from vst_vla.vla.heads.fast_codec import FastCodec
from vst_vla.vla.prompt import IGNORED

FOLDER = "action_tokenizer"
"""Of the codec, in a checkpoint."""


class FastHead(ActionHead):
    """One state token (none without a state), then words until the message ends; greedy, among those words only.

    Steps past an episode's end repeat its last action and count: words do not belong to single steps.

    Args:
        sizes: of the backbone and the robot.
        chunk: C.
        num_words: most words that fitting may make; that many are added to the vocabulary.
        scale: of the cosine coefficients before rounding: more is finer and longer.
        tokenizer: a folder with the published tokenizer to use instead of fitting; it must have at most `num_words`.
    """

    name = "fast"
    waits = True

    ids: torch.Tensor  # of the words, in the model's vocabulary

    def __init__(
        self, *, sizes: Sizes, chunk: int = 8, num_words: int = 512, scale: float = 10.0, tokenizer: str | None = None
    ) -> None:
        super().__init__(num_slots=int(sizes.state > 0), chunk=chunk, action_dim=sizes.action)
        self.new_tokens = tuple(f"<|fast_{number}|>" for number in range(num_words))
        self.num_words, self.scale, self.tokenizer = num_words, scale, tokenizer
        self.slot = state_slot(sizes)
        self.register_buffer("ids", torch.zeros(num_words, dtype=torch.long), persistent=False)
        self._end = 0
        self._fitted: FastCodec | None = None

    def take_tokens(self, ids: Sequence[int], *, end: int) -> None:
        """The ids of `<|fast_0|>` on, and that of the end of a message."""
        self.ids = torch.tensor(list(ids), device=self.ids.device)
        self._end = end

    def fit(self, chunks: Array) -> None:
        """Learns the words from normalised chunks (n,C,A), or takes those of `tokenizer`."""
        if self.tokenizer is None:
            self._fitted = FastCodec.fit(chunks, num_words=self.num_words, scale=self.scale)
        else:
            self._fitted = self._checked(FastCodec.load(self.tokenizer), source=self.tokenizer)

    def save_files(self, folder: Path) -> None:
        """FOLDER/action_tokenizer, in the published tokenizer's format."""
        self._codec.save(folder / FOLDER)

    def load_files(self, folder: Path) -> None:
        """The words of training."""
        self._fitted = self._checked(FastCodec.load(folder / FOLDER), source=str(folder / FOLDER))

    def loss(self, prompts: Prompts, *, actions: torch.Tensor, action_is_pad: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cross-entropy of the words and of the end, over the whole vocabulary."""
        rows = [torch.tensor([*words, -1]) for words in self._codec.encode(actions.float().cpu().numpy())]
        words = pad_sequence(rows, batch_first=True, padding_value=-1).to(actions.device)
        ids = self.ids[words.clamp(min=0)].masked_fill(words < 0, self._end)
        is_after_end = (words < 0).cumsum(1) > 1
        targets = ids.masked_fill(is_after_end, IGNORED)
        return token_loss(prompts.score(self._slots(prompts), ids=ids), targets=targets)

    def predict(self, prompts: ActingPrompts) -> torch.Tensor:
        """Normalised actions (B,C,A)."""
        allowed = torch.cat([self.ids[: self._codec.num_words], self.ids.new_tensor([self._end])])
        longest = 2 * self.chunk * self.action_dim  # bytes of its characters
        ids = prompts.write(self._slots(prompts), num_tokens=longest, allowed=allowed, end=self._end)
        words = (ids[..., None] == allowed).int().argmax(-1).tolist()
        end = len(allowed) - 1
        chunks = [
            self._codec.decode(
                row[: row.index(end)] if end in row else row, chunk=self.chunk, action_dim=self.action_dim
            )
            for row in words
        ]
        return torch.from_numpy(np.stack(chunks)).to(ids.device)

    @property
    def _codec(self) -> FastCodec:
        if self._fitted is None:
            raise ValueError("head fast has no action tokenizer yet: train it with `vst-vla train`, which fits one")
        return self._fitted

    def _checked(self, codec: FastCodec, *, source: str) -> FastCodec:
        if codec.num_words > self.num_words:
            raise ValueError(
                f"the action tokenizer at '{source}' has {codec.num_words} words, head fast has room for "
                f"{self.num_words}: set head.num_words={codec.num_words}"
            )
        return codec

    def _slots(self, prompts: ActingPrompts) -> torch.Tensor | None:
        return None if self.slot is None else self.slot(prompts.state)
