"""A batch of instructions, laid out before a picture is seen: embedded words, positions, masks, places.

The pictures come before the words of a prompt, so no layer can read an instruction ahead of them; what can be kept of
an instruction, for an episode and longer, is this.

Letters in shapes: B rows of L tokens, k cameras of V visual tokens, K slots, Q places that are read, n further
positions, D hidden, d width of an attention head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vst_vla.vla.data.collate import Collator
from vst_vla.vla.fast.layers import additive, signed
from vst_vla.vla.fast.tower import View
from vst_vla.vla.memory import Rotation, text_rotation
from vst_vla.vla.model import VLAModel
from vst_vla.vla.vision import Grid, rope_positions


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What is known of B prompts. Places count through the batch: row b's token l is b * L + l."""

    embeds: torch.Tensor  # (B,L,D), the words' in place
    visual: torch.Tensor  # (B*k*V,) places of the visual tokens, a picture's in the order of its view
    cameras: torch.Tensor | None  # (B*k*V,D) what is added to them
    slots: torch.Tensor  # (B*K,) places
    rotation: Rotation  # (B,L,1,d), for `layers.turn` as the next
    queries: torch.Tensor  # (B,Q) places of what is read: the slots, or else the last token
    query_rotation: Rotation  # (B,Q,1,d)
    query_mask: torch.Tensor  # (B,1,Q,L) additive, what they see
    after: Rotation  # (B,1,n,d) of the positions behind each prompt, as `Memory` has it
    is_real: torch.Tensor  # (B,L) bool, false on padding


@torch.no_grad()
def make_rows(
    model: VLAModel, tasks: Sequence[str], *, collator: Collator, grid: Grid, view: View, multiple: int, num_after: int
) -> Rows:
    """The rows of `tasks`, for pictures of one grid.

    Args:
        model: whose words and positions they are.
        tasks: B instructions.
        collator: of the model.
        grid: (1, rows, columns) of every picture, in patches.
        view: the tower's, of that grid.
        multiple: L is padded to a multiple of it.
        num_after: n.
    """
    num_cameras = len(collator.image_keys)
    counts = [[grid[1] * grid[2] // collator.merge] * num_cameras] * len(tasks)
    batch = collator.prompts(tasks, counts=counts)
    length = batch["input_ids"].shape[1]
    padded = {key: F.pad(value, (0, -length % multiple)).to(model.device) for key, value in batch.items()}
    ids, real, slot_mask = padded["input_ids"], padded["attention_mask"], padded["slot_mask"]
    image_mask = ids == model.config.image_token_id
    grids = (grid,) * (num_cameras * len(tasks))
    side = int(model.config.vision_config.spatial_merge_size)
    positions = rope_positions(image_mask, grids=grids, merge=side, attention_mask=real)
    embeds = model.vlm.get_input_embeddings()(ids)
    language, visual = model.vlm.model.language_model, _places(image_mask, view=view)
    rotation = _for_turning(text_rotation(language, embeds, positions))
    queries, query_mask = _queries(slot_mask, real=real)
    return Rows(
        embeds=embeds,
        visual=visual,
        cameras=_camera_vectors(model, num_tokens=len(visual) // len(tasks), num_rows=len(tasks), like=embeds),
        slots=torch.nonzero(slot_mask.flatten())[:, 0],
        rotation=rotation,
        queries=queries,
        query_rotation=(rotation[0].flatten(0, 1)[queries], rotation[1].flatten(0, 1)[queries]),
        query_mask=additive(query_mask, dtype=embeds.dtype),
        after=text_rotation(language, embeds, _positions_after(positions, real=real, count=num_after)),
        is_real=real.bool(),
    )


def _queries(slot_mask: torch.Tensor, *, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (B,Q) of the slots, or of each row's last token where there are none, and what they see (B,1,Q,L)."""
    size, length = real.shape
    columns = torch.arange(length, device=real.device)
    asked = slot_mask if bool(slot_mask.any()) else columns == real.sum(1, keepdim=True) - 1
    queries = torch.nonzero(asked.flatten())[:, 0].view(size, -1)
    return queries, (columns <= (queries % length)[..., None])[:, None]


def _positions_after(positions: torch.Tensor, *, real: torch.Tensor, count: int) -> torch.Tensor:
    """M-RoPE positions (3,B,count) behind each row's last token, which is text or a slot."""
    last = positions.gather(2, (real.sum(1) - 1).expand(3, -1)[..., None])
    return last + torch.arange(1, count + 1, device=real.device)


def _for_turning(rotation: Rotation) -> Rotation:
    cos, sin = rotation
    return signed((cos.transpose(1, 2), sin.transpose(1, 2)))


def _places(image_mask: torch.Tensor, *, view: View) -> torch.Tensor:
    """Of the visual tokens of all pictures, a picture's in window order, (B*k*V,)."""
    places = torch.nonzero(image_mask.flatten())[:, 0]
    return places if view.order is None else places.view(-1, len(view.order))[:, view.order].flatten()


def _camera_vectors(model: VLAModel, *, num_tokens: int, num_rows: int, like: torch.Tensor) -> torch.Tensor | None:
    """(B*k*V,D) out of (k,D), V = `num_tokens` / k."""
    vectors = model.camera_embedding
    if vectors is None:
        return None
    return vectors.repeat_interleave(num_tokens // len(vectors), dim=0).repeat(num_rows, 1).to(like.dtype)
