"""A step's batches through one block of memory."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from vst_vla.vla.data.parcel import pack


def batches() -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return {
        "robot": {
            "mask": torch.rand(3, 5, generator=generator) > 0.5,
            "pixels": torch.rand(7, 11, generator=generator).T,
            "grid": torch.tensor([[1, 2, 3]]),
        },
        "spatial": {"mask": torch.zeros(2, 0), "scale": torch.tensor(2.5, dtype=torch.float64)},
    }


def same(first, second) -> bool:
    assert first.keys() == second.keys()
    return all(
        first[source].keys() == second[source].keys()
        and all(
            a.dtype == b.dtype and torch.equal(a, b)
            for a, b in zip(first[source].values(), second[source].values(), strict=True)
        )
        for source in first
    )


def test_what_is_packed_comes_out() -> None:
    parcel = pack(batches())
    assert parcel.block.dtype == torch.uint8
    assert same(parcel.unpack(), batches())
    assert same(parcel.to("cpu").unpack(), batches())


def test_a_worker_hands_over_one_tensor() -> None:
    loader = DataLoader([batches()], batch_size=None, collate_fn=pack, num_workers=1)
    (parcel,) = list(loader)
    assert same(parcel.unpack(), batches())
    storages = {value.untyped_storage().data_ptr() for batch in parcel.unpack().values() for value in batch.values()}
    assert len(storages) == 1
