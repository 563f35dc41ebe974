"""One step's batches as one block of memory.

A data loader's worker hands every tensor over through a socket of its own; for the dozen small tensors of a step that
costs more than making them. A parcel is one tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from vst_vla.vla.data.collate import Batch

ALIGNMENT = 16  # bytes; a multiple of every element's size


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor lies in the block."""

    source: str
    key: str
    start: int  # byte
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """The tensor's size."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Batches by source, as `pack` made them; moves between devices as one tensor does."""

    block: torch.Tensor  # (bytes,) uint8
    places: tuple[Place, ...]

    def unpack(self) -> dict[str, Batch]:
        """The batches: views into the block, on its device."""
        batches: dict[str, Batch] = {}
        for place in self.places:
            flat = self.block[place.start : place.start + place.num_bytes].view(place.dtype)
            batches.setdefault(place.source, {})[place.key] = flat.view(place.shape)
        return batches

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Parcel:
        """The parcel on another device; Accelerate calls this."""
        return replace(self, block=self.block.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Parcel:
        """The parcel in page-locked memory; a data loader calls this."""
        return replace(self, block=self.block.pin_memory())


def pack(batches: Mapping[str, Batch]) -> Parcel:
    """Copies {source: batch} into one block."""
    places: list[Place] = []
    end = 0
    for source, batch in batches.items():
        for key, value in batch.items():
            places.append(Place(source=source, key=key, start=end, dtype=value.dtype, shape=tuple(value.shape)))
            end += -(-places[-1].num_bytes // ALIGNMENT) * ALIGNMENT
    parcel = Parcel(block=torch.empty(end, dtype=torch.uint8), places=tuple(places))
    for source, batch in parcel.unpack().items():
        for key, view in batch.items():
            view.copy_(batches[source][key])
    return parcel
