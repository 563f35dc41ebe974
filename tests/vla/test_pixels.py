"""Patches and crops made without the image processor and without PIL: the same numbers, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from vst_vla.vla.contracts import IMAGE_KEY
from vst_vla.vla.fast.pixels import Patches, cut, make_filters
from vst_vla.vla.fast.tower import Tower, View
from vst_vla.vla.presets import preset_config
from vst_vla.vla.tokenizer import make_tiny_processor
from vst_vla.vla.transforms import CropResize

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def processor():
    return make_tiny_processor([])


def pictures(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [28, 112, 252])
def test_patches_are_the_processors(processor, size: int) -> None:
    given = pictures(3, size, size, 3)
    made = processor.image_processor(list(given.permute(0, 3, 1, 2)), do_resize=False, return_tensors="pt")
    frames = made["pixel_values"].view(3, -1, 3, 2, 14, 14)
    assert torch.equal(frames[:, :, :, 0], frames[:, :, :, 1])
    order = torch.randperm((size // 28) ** 2, generator=torch.Generator().manual_seed(0))
    table = torch.zeros(1)
    for wanted in (None, order):
        view = View(order=wanted, rotation=(table, table), window=None, mask=None)
        expected = frames[:, :, :, 0].flatten(2)
        if wanted is not None:
            expected = expected.unflatten(1, (-1, 4))[:, wanted].flatten(1, 2)
        assert torch.equal(Patches(processor, device=CPU)(given, view), expected)


@pytest.mark.parametrize(
    ("height", "width", "size", "fraction"),
    [(128, 128, 112, 0.94), (256, 256, 224, 1.0), (480, 640, 224, 0.94), (100, 90, 112, 0.9), (64, 64, 252, 0.5)],
)
def test_cuts_are_pils(height: int, width: int, size: int, fraction: float) -> None:
    crop = CropResize(keys=(IMAGE_KEY,), size=size, fraction=fraction)
    given = pictures(2, height, width, 3)
    expected = [crop({IMAGE_KEY: picture.numpy()}, None)[IMAGE_KEY] for picture in given]
    (filters,) = make_filters(crop, ((height, width),), device=CPU)
    np.testing.assert_array_equal(cut(given, by=filters).numpy(), np.stack(expected))


def test_a_crop_of_the_same_size_changes_nothing() -> None:
    given = pictures(1, 56, 56, 3)
    crop = CropResize(keys=(IMAGE_KEY,), size=56, fraction=1.0)
    (filters,) = make_filters(crop, ((56, 56),), device=CPU)
    assert torch.equal(cut(given, by=filters), given)


def test_views_group_what_shares_a_window(processor) -> None:
    tower = Tower(Qwen2_5_VLForConditionalGeneration(preset_config("tiny", tokenizer=processor.tokenizer)).model.visual)
    one, even, odd = (tower.look((1, side, side)) for side in (8, 16, 18))
    assert (one.order, one.window, one.mask) == (None, 64, None)
    assert even.order is not None
    assert (even.window, even.mask) == (64, None)
    assert odd.window is None
    assert odd.mask is not None
    assert sorted((odd.mask == 0).sum(1).unique().tolist()) == [4, 16, 64]
