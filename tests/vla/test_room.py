"""A card too small is told in one line, with what fits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vst_vla.vla import room
from vst_vla.vla.room import GIB, check_room, half_bytes, require_room, weight_bytes


def test_what_fits_is_said() -> None:
    check_room(num_bytes=7 * GIB, half=7 * GIB, free=9 * GIB, device="cuda:0")
    with pytest.raises(ValueError, match=r"needs 8.0 GiB on 'cuda:0', 6.0 GiB are free: use device=cpu") as refused:
        check_room(num_bytes=7 * GIB, half=7 * GIB, free=6 * GIB, device="cuda:0")
    assert "bfloat16" not in str(refused.value)
    with pytest.raises(ValueError, match=r"needs 17.2 GiB .* dtype=bfloat16 fits with 8.6 GiB: use it"):
        check_room(num_bytes=15 * GIB, half=15 * GIB // 2, free=10 * GIB, device="cuda")


def test_weights_are_counted_once_and_a_gpu_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False, dtype=torch.bfloat16))
    model.append(model[0])
    assert (weight_bytes(model), half_bytes(model)) == (64 * 4 + 64 * 2, 64 * 2 * 2)
    require_room(model, device=torch.device("cpu"))
    monkeypatch.setattr(room.torch, "cuda", SimpleNamespace(mem_get_info=lambda device: (100, 1000)))
    with pytest.raises(ValueError, match=r"the policy needs 0\.0 GiB on 'cuda:1'"):
        require_room(model, device=torch.device("cuda", 1))
