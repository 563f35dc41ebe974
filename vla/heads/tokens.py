"""Actions as words, one of 256 bins a number, written one after another: VST's own policy, after OpenVLA.

A number x in [-1, 1] falls into bin d = digitize(x, 256 edges from -1 to 1), 1 to 256, and is written as the word
`<|action_{256 - d}|>`: the lowest bin has the highest word. Reading takes the centre of the bin; the last edge has none
above it and reads as the bin below. (Yangr116/VST, its `<|action_i|>` variant.) A chunk is written step by step, then
the message ends.

Letters in shapes: B batch, C chunk, A action, T = C * A words, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from vst_vla.vla.heads.base import ActingPrompts, ActionHead, Prompts, Sizes, state_slot, token_loss
from vst_vla.vla.prompt import IGNORED

NUM_WORDS = 256
WORDS = tuple(f"<|action_{number}|>" for number in range(NUM_WORDS))


class TokensHead(ActionHead):
    """One state token (none without a state), then C * A words; greedy, among the action words only.

    The loss is cross-entropy over the whole vocabulary, on the words and on the end of the message.
    """

    name = "tokens"
    new_tokens = WORDS

    ids: torch.Tensor  # of the words, in the model's vocabulary

    def __init__(self, *, sizes: Sizes, chunk: int = 8) -> None:
        super().__init__(num_slots=int(sizes.state > 0), chunk=chunk, action_dim=sizes.action)
        self.slot = state_slot(sizes)
        self.register_buffer("ids", torch.zeros(NUM_WORDS, dtype=torch.long), persistent=False)
        self._end = 0

    def take_tokens(self, ids: Sequence[int], *, end: int) -> None:
        """The ids of `<|action_0|>` to `<|action_255|>`, and that of the end of a message."""
        self.ids = torch.tensor(list(ids), device=self.ids.device)
        self._end = end

    def loss(self, prompts: Prompts, *, actions: torch.Tensor, action_is_pad: torch.Tensor) -> dict[str, torch.Tensor]:
        """Cross-entropy of the words of the steps that are not padding, and of the end behind a whole chunk."""
        ids = F.pad(self.ids[words_of(actions)].flatten(1), (0, 1), value=self._end)
        skipped = action_is_pad.repeat_interleave(self.action_dim, dim=1)
        targets = ids.masked_fill(torch.cat([skipped, action_is_pad[:, -1:]], dim=1), IGNORED)
        return token_loss(prompts.score(self._slots(prompts), ids=ids), targets=targets)

    def predict(self, prompts: ActingPrompts) -> torch.Tensor:
        """Normalised actions (B,C,A), each the centre of a bin."""
        length = self.chunk * self.action_dim
        ids = prompts.write(self._slots(prompts), num_tokens=length, allowed=self.ids)
        words = (ids[..., None] == self.ids).int().argmax(-1)
        return actions_of(words).unflatten(1, (self.chunk, self.action_dim))

    def _slots(self, prompts: ActingPrompts) -> torch.Tensor | None:
        return None if self.slot is None else self.slot(prompts.state)


def words_of(actions: torch.Tensor) -> torch.Tensor:
    """The number of each action's word, 0 (+1) to 255 (-1); what lies outside [-1, 1] is clipped."""
    edges = torch.linspace(-1, 1, NUM_WORDS, dtype=torch.float64, device=actions.device)
    bins = torch.bucketize(actions.double().clamp(-1, 1).contiguous(), edges, right=True)
    return NUM_WORDS - bins


def actions_of(words: torch.Tensor) -> torch.Tensor:
    """The bin centre, float32 in (-1, 1), of each word's number."""
    edges = torch.linspace(-1, 1, NUM_WORDS, dtype=torch.float64, device=words.device)
    centres = (edges[:-1] + edges[1:]) / 2
    return centres[(NUM_WORDS - 1 - words).clamp(0, NUM_WORDS - 2)].float()
