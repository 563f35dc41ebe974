"""The seam between the backbone and an action head: a batch of prompts in, loss or chunk out.

A head owns K token positions (slots) after every prompt, and says what is embedded there. It has the backbone read the
prompts in the way that it needs: states at the slots (`read`), keys and values of every layer (`remember`), or next
tokens (`score` ones that are known, `write` new ones).

Letters in shapes: B batch, K slots, D hidden, S state, C chunk, A action, T written tokens, V vocabulary. States and
actions are normalised.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from vst_vla.vla.contracts import Array, check_names
from vst_vla.vla.memory import Memory
from vst_vla.vla.prompt import IGNORED


class ActingPrompts(Protocol):
    """A batch of B prompts that the backbone can read. `slots` are embeddings (B,K,D), None for a head without any."""

    @property
    def state(self) -> torch.Tensor | None:
        """(B,S), None when the batch has no state."""
        ...

    @property
    def batch_size(self) -> int:
        """B."""
        ...

    def read(self, slots: torch.Tensor | None) -> torch.Tensor:
        """The last layer's states at the slots, (B,K,D)."""
        ...

    def remember(self, slots: torch.Tensor | None, *, num_after: int) -> Memory:
        """Every layer's keys and values, and the rotation of `num_after` positions behind each prompt."""
        ...

    def write(
        self, slots: torch.Tensor | None, *, num_tokens: int, allowed: torch.Tensor, end: int | None = None
    ) -> torch.Tensor:
        """Ids (B,T) of the likeliest continuation out of the ids `allowed`, T at most `num_tokens`.

        With `end`, one of the allowed ids, writing stops once every row has it; what a row has behind it is arbitrary.
        """
        ...


class Prompts(ActingPrompts, Protocol):
    """What a loss needs beside."""

    def score(self, slots: torch.Tensor | None, *, ids: torch.Tensor) -> torch.Tensor:
        """Logits (B,T,V) of each of the tokens `ids` (B,T) behind the prompts, given those before it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths that a head must fit: of the language model, of the robot's vectors."""

    hidden: int  # D
    action: int  # A
    state: int = 0  # S, 0 without a state
    num_layers: int = 1
    num_kv_heads: int = 1
    head_dim: int = 1


class ActionHead(nn.Module):
    """Base of every action head. Heads compute in float32 whatever the backbone's type."""

    name: str
    """Its name in `configs/head`."""
    acting_options: tuple[str, ...] = ()
    """Options that may differ from training when acting: they change no weight's shape or meaning."""
    inpaints: bool = False
    """Whether `predict` takes a `begin` (`heads/euler.py`) that its chunks continue."""
    waits: bool = False
    """Whether `predict` looks at what the device has computed before it goes on."""
    new_tokens: tuple[str, ...] = ()
    """Words that the head adds to the backbone's vocabulary, in the order of their ids."""

    def __init__(self, *, num_slots: int, chunk: int, action_dim: int) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk is {chunk}, expected at least 1 action step")
        self.num_slots = num_slots
        self.chunk = chunk
        self.action_dim = action_dim

    def loss(self, prompts: Prompts, *, actions: torch.Tensor, action_is_pad: torch.Tensor) -> dict[str, torch.Tensor]:
        """{"loss": scalar, detached scalars to log} from actions (B,C,A) and padding (B,C) bool."""
        raise NotImplementedError

    def predict(self, prompts: ActingPrompts) -> torch.Tensor:
        """Normalised action chunk (B,C,A) float32."""
        raise NotImplementedError

    def take_tokens(self, ids: Sequence[int], *, end: int) -> None:
        """Told the ids of `new_tokens` in the model's vocabulary, and the one that ends a message."""

    def fit(self, chunks: Array) -> None:
        """Learns what it needs from the training set's normalised chunks (n,C,A), once, before training."""

    def save_files(self, folder: Path) -> None:
        """Writes what is no weight into a checkpoint folder."""

    def load_files(self, folder: Path) -> None:
        """Reads what `save_files` wrote; raises ValueError where it is missing or broken."""


def build[Head: ActionHead](kind: type[Head], options: Mapping[str, Any], *, sizes: Sizes) -> Head:
    """A head of that kind. Raises ValueError for an option that it does not have."""
    known = inspect.signature(kind).parameters.keys() - {"sizes"}
    check_names(f"option of head {kind.name}", options, choices=known)
    make: Any = kind
    made: Head = make(sizes=sizes, **options)
    return made


class StateSlot(nn.Sequential):
    """The proprioceptive state as one token: (B,S) -> (B,1,D), through a small MLP."""

    def __init__(self, *, state_dim: int, hidden_dim: int) -> None:
        super().__init__(nn.Linear(state_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, hidden_dim))

    def forward(self, state: torch.Tensor | None) -> torch.Tensor:
        """Raises ValueError when the batch has no state."""
        if state is None:
            raise ValueError("the policy was made with a state, but the batch has none: add 'state' to the batch")
        token: torch.Tensor = super().forward(state.float())
        return token[:, None]


def state_slot(sizes: Sizes) -> StateSlot | None:
    """The token of a policy with a state, None for one without."""
    return StateSlot(state_dim=sizes.state, hidden_dim=sizes.hidden) if sizes.state else None


def masked_mean(values: torch.Tensor, *, action_is_pad: torch.Tensor) -> torch.Tensor:
    """Mean of values (B,C,A) over the steps that are not padding (B,C); 0 when all are."""
    real = (~action_is_pad)[..., None].to(values.dtype)
    return (values * real).sum() / (real.sum() * values.shape[-1]).clamp(min=1.0)


def token_loss(
    logits: torch.Tensor, *, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Mean cross-entropy and accuracy of logits (...,V) over the targets (...) that are not -100.

    Args:
        logits: (...,V).
        targets: (...), -100 where nothing is to be predicted.
        weights: (...) how much each target counts in the mean of the loss; None for all alike.
    """
    wanted = targets != IGNORED
    logits, targets = logits[wanted], targets[wanted]
    accuracy = (logits.detach().argmax(-1) == targets).float().mean()
    if weights is None:
        return {"loss": F.cross_entropy(logits, targets), "token_accuracy": accuracy}
    weights = weights[wanted]
    losses = F.cross_entropy(logits, targets, reduction="none")
    return {"loss": (losses * weights).sum() / weights.sum(), "token_accuracy": accuracy}
