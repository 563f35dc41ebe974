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
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig

from vst_vla.vla.contracts import check_names
from vst_vla.vla.geometry.alignment import Alignment
from vst_vla.vla.geometry.cells import Cells
from vst_vla.vla.geometry.gaze import Gaze
from vst_vla.vla.geometry.pointing import Pointing, shown_cells
from vst_vla.vla.geometry.readouts import Readouts
from vst_vla.vla.geometry.recall import Recall
from vst_vla.vla.memory import recorded, rotate, text_rotation
from vst_vla.vla.reading import PromptReader

READOUTS, ALIGNMENT, POINTING, GAZE, RECALL = "readouts", "alignment", "pointing", "gaze", "recall"
LESSONS = (READOUTS, ALIGNMENT, POINTING, GAZE, RECALL)


class Supervision(nn.Module):
    """The losses by name, of the states that visual tokens have after some of the layers.

    Args:
        lessons: names out of `LESSONS`.
        text: the language model's configuration, of hidden size D.
        depth: share of the layers that the tokens have gone through, 0 for none. What a last layer makes of a visual
            token nobody reads; Spatial Forcing found 24 of 32 layers best.
        num_classes: that the labels number.
        each: cells of a visual token's side.
        num_marks: that labels of conversations' pictures number, see `Readouts`.
        alone: conversations are not learnt beside it, so that no more of them is read than this needs.

    Raises:
        ValueError: an unknown name, a gaze of no layer, or a recall in none or behind the last.
    """

    def __init__(
        self,
        lessons: Collection[str],
        *,
        text: Qwen2_5_VLTextConfig,
        depth: float,
        num_classes: int,
        each: int,
        num_marks: int = 0,
        alone: bool = False,
    ) -> None:
        super().__init__()
        check_names("lesson", lessons, choices=LESSONS)
        assert 0 <= depth <= 1
        hidden_dim = int(text.hidden_size)
        self.layer = round(depth * text.num_hidden_layers)
        self.each, self.alone = each, alone
        self.lessons = nn.ModuleDict()
        if READOUTS in lessons:
            sizes = {"num_classes": num_classes, "each": each, "num_marks": num_marks}
            self.lessons[READOUTS] = Readouts(hidden_dim=hidden_dim, **sizes)
        if ALIGNMENT in lessons:
            self.lessons[ALIGNMENT] = Alignment(hidden_dim=hidden_dim)
        self.pointing = Pointing(hidden_dim=hidden_dim) if POINTING in lessons else None
        self.gaze: Gaze | None = None
        if GAZE in lessons:
            if self.layer == 0:
                raise ValueError(f"recipe.geometry_depth is {depth}, but names look in the layer before: try 0.5")
            self.gaze = Gaze(num_heads=int(text.num_attention_heads), num_groups=int(text.num_key_value_heads))
        self.recall: Recall | None = None
        if RECALL in lessons:
            if not 0 < self.layer < text.num_hidden_layers:
                raise ValueError(f"recipe.geometry_depth is {depth}, but answers recall in the layer behind: try 0.5")
            self.recall = Recall(hidden_dim=hidden_dim)

    @contextmanager
    def listening(self, prompts: PromptReader) -> Iterator[list[torch.Tensor]]:
        """A list that fills with what the layer makes of the prompts, (B,L,D) each time they are read meanwhile.

        Where names are to look, the layer's queries and keys come before it; where answers are to recall, what the next
        layer makes of it comes behind.
        """
        if self.layer == 0:
            yield [prompts.embeds]
            return
        layers = prompts.vlm.model.language_model.layers
        layer = layers[self.layer - 1]
        looking = [layer.self_attn.q_proj, layer.self_attn.k_proj] if self.gaze is not None else []
        behind = [layers[self.layer]] if self.recall is not None else []
        with recorded([*looking, layer, *behind]) as heard:
            yield heard

    def forward(
        self,
        heard: list[torch.Tensor],
        *,
        prompts: PromptReader,
        places: torch.Tensor,
        cells: Cells,
        mentions: torch.Tensor | None = None,
        meant: torch.Tensor | None = None,
        recalls: torch.Tensor | None = None,
    ) -> dict[str, dict[str, torch.Tensor]]:
        """Each lesson's {"loss": scalar, detached scalars to log}.

        Args:
            heard: what `listening` heard, which may be longer than the prompts.
            prompts: the batch.
            places: (V,) of the labelled visual tokens among the prompts' (B*L).
            cells: what they are asked about.
            mentions: (M,4) names in the prompts, see `Pointing`; None where there are none.
            meant: (P,2) the cells that they mean, likewise.
            recalls: (R,1+MOST) where answers are said, and the names in their questions (see `Recall`), likewise.
        """
        read = self._read(heard)
        if read is None:
            with self.listening(prompts) as again:
                prompts.read_all()
            read = again
        later = read.pop() if self.recall is not None else None
        *looks, hidden = read
        words = hidden[:, : prompts.embeds.shape[1]].flatten(0, 1)
        losses = {name: lesson(words[places], cells) for name, lesson in self.lessons.items()}
        if mentions is None or meant is None:
            return losses
        shown = shown_cells(meant, num_names=len(mentions), num_tokens=len(places), each=self.each**2)
        if self.pointing is not None:
            names = {"named": words[mentions[:, 0]], "mentions": mentions, "meant": meant, "shown": shown}
            losses[POINTING] = self.pointing(words[places], cells, **names)
        if self.recall is not None and later is not None and recalls is not None:
            given = {"names": recalls[:, 1:], "mentions": mentions, "meant": meant}
            losses[RECALL] = self.recall(later.flatten(0, 1)[recalls[:, 0]], cells, **given)
        if self.gaze is not None:
            queries, keys = _turned(looks, prompts)
            losses[GAZE] = self.gaze(queries, keys, places=places, mentions=mentions, shown=shown)
        return losses

    def _read(self, heard: list[torch.Tensor]) -> list[torch.Tensor] | None:
        """Of a reading that gradients flow back from: queries and keys for gaze, states, the next ones for recall."""
        each = 1 + 2 * (self.gaze is not None) + (self.recall is not None)
        readings = (heard[start : start + each] for start in range(0, len(heard), each))
        return next((reading for reading in readings if reading[-1].requires_grad), None)


def _turned(looks: list[torch.Tensor], prompts: PromptReader) -> Iterator[torch.Tensor]:
    """Queries and keys, each (B,L or more,h*d), as (B*L,h,d) at their positions."""
    model = prompts.vlm.model.language_model
    rotation = text_rotation(model, prompts.embeds, prompts.positions)
    for projected in looks:
        heads = projected[:, : prompts.embeds.shape[1]].unflatten(-1, (-1, rotation[0].shape[-1])).transpose(1, 2)
        yield rotate(heads, rotation).transpose(1, 2).flatten(0, 1)
