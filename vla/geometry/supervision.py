"""What visual tokens, and the words that name what they show, are taught about space beside acting or answering.

It listens to one of the language model's layers while the prompts are read, so it costs no further pass of the backbone
(but one where no gradient flows back from the head's own, as under knowledge insulation). A checkpoint holds nothing of
it.

Letters: B batch, L tokens, D hidden, V visual tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from vst_vla.vla.contracts import check_names
from vst_vla.vla.geometry.alignment import Alignment
from vst_vla.vla.geometry.cells import Cells
from vst_vla.vla.geometry.pointing import Pointing
from vst_vla.vla.geometry.readouts import Readouts
from vst_vla.vla.memory import recorded
from vst_vla.vla.reading import PromptReader

READOUTS, ALIGNMENT, POINTING = "readouts", "alignment", "pointing"
LESSONS = (READOUTS, ALIGNMENT, POINTING)


class Supervision(nn.Module):
    """The losses by name, of the states that visual tokens have after some of the layers.

    Args:
        lessons: names out of `LESSONS`.
        hidden_dim: D.
        num_layers: of the language model.
        depth: share of the layers that the tokens have gone through, 0 for none. What a last layer makes of a visual
            token nobody reads; Spatial Forcing found 24 of 32 layers best.
        num_classes: that the labels number.
        each: cells of a visual token's side.

    Raises:
        ValueError: an unknown name.
    """

    def __init__(
        self, lessons: Collection[str], *, hidden_dim: int, num_layers: int, depth: float, num_classes: int, each: int
    ) -> None:
        super().__init__()
        check_names("lesson", lessons, choices=LESSONS)
        assert 0 <= depth <= 1
        self.layer = round(depth * num_layers)
        self.each = each
        self.lessons = nn.ModuleDict()
        if READOUTS in lessons:
            self.lessons[READOUTS] = Readouts(hidden_dim=hidden_dim, num_classes=num_classes, each=each)
        if ALIGNMENT in lessons:
            self.lessons[ALIGNMENT] = Alignment(hidden_dim=hidden_dim)
        self.pointing = Pointing(hidden_dim=hidden_dim) if POINTING in lessons else None

    @contextmanager
    def listening(self, prompts: PromptReader) -> Iterator[list[torch.Tensor]]:
        """A list that fills with what the layer makes of the prompts, (B,L,D) each time they are read meanwhile."""
        if self.layer == 0:
            yield [prompts.embeds]
            return
        with recorded([prompts.vlm.model.language_model.layers[self.layer - 1]]) as heard:
            yield heard

    def forward(
        self,
        heard: list[torch.Tensor],
        *,
        prompts: PromptReader,
        places: torch.Tensor,
        cells: Cells,
        mentions: torch.Tensor | None = None,
    ) -> dict[str, dict[str, torch.Tensor]]:
        """Each lesson's {"loss": scalar, detached scalars to log}.

        Args:
            heard: what `listening` heard, which may be longer than the prompts.
            prompts: the batch.
            places: (V,) of the labelled visual tokens among the prompts' (B*L).
            cells: what they are asked about.
            mentions: (M,5) names in the prompts, see `Pointing`; None where there are none.
        """
        hidden = next((states for states in heard if states.requires_grad), None)
        if hidden is None:
            with self.listening(prompts) as again:
                prompts.read_all()
            hidden = again[0]
        words = hidden[:, : prompts.embeds.shape[1]].flatten(0, 1)
        losses = {name: lesson(words[places], cells) for name, lesson in self.lessons.items()}
        if self.pointing is not None and mentions is not None:
            named = words[mentions[:, 0]]
            losses[POINTING] = self.pointing(words[places], cells, named=named, mentions=mentions)
        return losses
