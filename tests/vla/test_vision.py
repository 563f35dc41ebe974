"""The batched vision path and the vectorised positions against transformers' own."""

import pytest
import torch

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.vision import SEGMENT_ATTENTION, encode_images, rope_positions, vision_layout

SAME = ((1, 8, 8),) * 3
MIXED = ((1, 8, 8), (1, 18, 18), (1, 12, 20))


@pytest.fixture(scope="module")
def vlm():
    return load_backbone("tiny").model


@pytest.mark.parametrize("grids", [SAME, MIXED])
@pytest.mark.parametrize("full_layers", [[0, 1, 2, 3], [1]])
@pytest.mark.parametrize("attention", [SEGMENT_ATTENTION, "sdpa", "eager"])
def test_visual_tokens_equal_the_stock_tower(vlm, grids, full_layers, attention):
    tower = vlm.model.visual
    generator = torch.Generator().manual_seed(0)
    grid = torch.tensor(grids)
    pixels = torch.randn(int(grid.prod(1).sum()), 1176, generator=generator)
    before = tower.fullatt_block_indexes
    try:
        tower.fullatt_block_indexes = full_layers
        tower.set_attn_implementation("sdpa")
        expected = tower(pixels, grid_thw=grid).pooler_output
        tower.set_attn_implementation(attention)
        torch.testing.assert_close(encode_images(tower, pixels, grids=grids), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(tower(pixels, grid_thw=grid).pooler_output, expected, atol=1e-5, rtol=1e-5)
    finally:
        tower.fullatt_block_indexes = before
        tower.set_attn_implementation(SEGMENT_ATTENTION)


def test_gradients_equal_the_stock_tower(vlm):
    tower = vlm.model.visual
    pixels = torch.randn(192, 1176, generator=torch.Generator().manual_seed(1))
    weight = tower.patch_embed.proj.weight
    encode_images(tower, pixels, grids=SAME).square().sum().backward()
    ours, weight.grad = weight.grad, None
    tower(pixels, grid_thw=torch.tensor(SAME)).pooler_output.square().sum().backward()
    torch.testing.assert_close(ours, weight.grad, atol=1e-4, rtol=1e-4)
    tower.zero_grad()


def test_layout_of_small_images_needs_no_reordering():
    layout = vision_layout(SAME, merge=2, window=4, device="cpu")
    assert layout.window_order is None
    assert layout.images.lengths == (64, 64, 64)
    assert layout is vision_layout(SAME, merge=2, window=4, device="cpu")


def test_positions_equal_get_rope_index(vlm):
    image, text = vlm.config.image_token_id, 5
    rows = [
        [text] * 3 + [image] * 16 + [text] * 2 + [image] * 60 + [text] * 7,
        [image] * 81 + [text] * 4,
        [text] * 9,
    ]
    width = max(map(len, rows))
    ids = torch.tensor([row + [text] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    grids = ((1, 8, 8), (1, 12, 20), (1, 18, 18))
    expected, _ = vlm.model.get_rope_index(
        ids, mm_token_type_ids=(ids == image).int(), image_grid_thw=torch.tensor(grids), attention_mask=mask
    )
    found = rope_positions(ids == image, grids=grids, merge=2, attention_mask=mask)
    assert torch.equal(found, expected)


def test_positions_without_images_count_up():
    found = rope_positions(torch.zeros(1, 4, dtype=torch.bool), grids=(), merge=2, attention_mask=torch.ones(1, 4))
    assert found[:, 0].tolist() == [[0, 1, 2, 3]] * 3
