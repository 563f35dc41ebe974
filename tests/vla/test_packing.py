"""Conversations packed into one row: the same loss and gradients as rows of their own, and no sight of a neighbour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vst_vla.vla.backbone import load_backbone, use_attention
from vst_vla.vla.data.collate import Batch, Collator
from vst_vla.vla.data.lengths import UNUSABLE, measure, usable
from vst_vla.vla.data.questions import QuestionRows
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.model import VLAModel
from vst_vla.vla.packing import PACKED_ATTENTION, packed_arguments
from vst_vla.vla.prompt import IGNORED
from vst_vla.vla.vision import rope_positions

EVERY_ATTENTION = pytest.mark.parametrize("attention", ["sdpa", PACKED_ATTENTION])


@pytest.fixture(scope="module")
def rows(upstream_layout: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> QuestionRows:
    """One row of every type that upstream has: pictures, several pictures, boxes, a video, thoughts, text alone."""
    folder = tmp_path_factory.mktemp("upstream")
    upstream_layout.write(folder / "a.parquet", upstream_layout.rows())
    return QuestionRows(folder, fov=FovTarget(width=112, hfov_deg=45), max_pixels=12544)


@pytest.fixture(scope="module")
def network() -> VLAModel:
    return VLAModel(load_backbone("tiny"))


@pytest.fixture
def model(network: VLAModel) -> Iterator[VLAModel]:
    network.zero_grad()
    yield network
    use_attention(network.vlm, "sdpa")


@pytest.fixture(scope="module")
def collator(network: VLAModel) -> Collator:
    return Collator(network.processor)


def gradients(model: VLAModel, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(**batch)["loss"]
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@EVERY_ATTENTION
def test_loss_and_gradients_are_those_of_padded_rows(
    model: VLAModel, rows: QuestionRows, collator: Collator, attention: str
) -> None:
    records = [rows[index] for index in range(len(rows))]
    expected, theirs = gradients(model, collator.questions(records))
    use_attention(model.vlm, attention)
    loss, ours = gradients(model, collator.pack(records))
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    assert ours.keys() == theirs.keys()
    assert any("visual" in name for name in ours)
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_replies_that_weigh_alike_do_so_packed_or_padded(
    model: VLAModel, rows: QuestionRows, network: VLAModel, collator: Collator
) -> None:
    """At 1 the loss is the mean of the conversations' own losses, at 0 that of all tokens, in between between."""
    records = [rows[index] for index in range(len(rows))]
    use_attention(model.vlm, PACKED_ATTENTION)
    alone = torch.stack([gradients(model, collator.pack([record]))[0] for record in records])
    balanced = Collator(network.processor, reply_balance=1.0)
    packed, ours = gradients(model, balanced.pack(records))
    torch.testing.assert_close(packed, alone.mean(), atol=1e-5, rtol=1e-5)
    padded, theirs = gradients(model, balanced.questions(records))
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    tokens = torch.tensor([(collator.pack([r])["labels"] != IGNORED).sum() for r in records]).float()
    half = Collator(network.processor, reply_balance=0.5).pack(records)
    expected = (alone * tokens.sqrt()).sum() / tokens.sqrt().sum()
    torch.testing.assert_close(gradients(model, half)[0], expected, atol=1e-5, rtol=1e-5)
    assert abs(packed - gradients(model, collator.pack(records))[0]) > 1e-3, "balance changes the loss"


@EVERY_ATTENTION
def test_a_sample_cannot_see_its_neighbour(
    model: VLAModel, rows: QuestionRows, collator: Collator, attention: str
) -> None:
    """Another picture and other words in the second sample leave the logits of all others as they are, to the bit."""
    use_attention(model.vlm, attention)
    records = [rows[index] for index in range(4)]
    batch = collator.pack(records)
    start, stop = batch["sample_lengths"].cumsum(0)[:2].tolist()
    other = {key: value.clone() for key, value in batch.items()}
    answer = torch.zeros_like(batch["labels"], dtype=torch.bool)
    answer[0, start:stop] = batch["labels"][0, start:stop] != IGNORED
    other["input_ids"][answer] = 5
    patches = batch["image_grid_thw"].prod(dim=1).tolist()
    other["pixel_values"][patches[0] : patches[0] + patches[1]] += 1.0
    with torch.no_grad():
        before, after = (model.vlm.lm_head(model.encode(b))[0] for b in (batch, other))
    assert (before[start:stop] - after[start:stop]).abs().max() > 1e-3
    assert torch.equal(before[:start], after[:start])
    assert torch.equal(before[stop:], after[stop:])


def test_positions_start_anew_in_every_sample(model: VLAModel, rows: QuestionRows, collator: Collator) -> None:
    """Each sample has the positions that transformers gives it in a row of its own."""
    records = [rows[index] for index in range(len(rows))]
    packed = collator.pack(records)
    grids = tuple(tuple(grid) for grid in packed["image_grid_thw"].tolist())
    image_mask = packed["input_ids"] == model.config.image_token_id
    positions = rope_positions(image_mask, grids=grids, merge=2, attention_mask=None)
    found = packed_arguments(positions, sample_lengths=packed["sample_lengths"])
    end = 0
    for record, length in zip(records, packed["sample_lengths"].tolist(), strict=True):
        alone = collator.questions([record])
        expected, _ = model.vlm.model.get_rope_index(
            alone["input_ids"],
            mm_token_type_ids=alone["mm_token_type_ids"],
            image_grid_thw=alone.get("image_grid_thw"),
            attention_mask=alone["attention_mask"],
        )
        start, end = end, end + length
        assert torch.equal(found["position_ids"][1:, :, start:end], expected)
        assert found["position_ids"][0, 0, start:end].tolist() == list(range(length))
    assert found["cu_seq_lens_q"].tolist() == [0, *packed["sample_lengths"].cumsum(0).tolist()]


def test_recomputing_activations_changes_nothing(model: VLAModel, rows: QuestionRows, collator: Collator) -> None:
    use_attention(model.vlm, PACKED_ATTENTION)
    batch = collator.pack([rows[index] for index in range(3)])
    model.train()
    expected, theirs = gradients(model, batch)
    model.gradient_checkpointing_enable()
    loss, ours = gradients(model, batch)
    model.gradient_checkpointing_disable()
    assert torch.equal(loss, expected)
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch's variable-length kernel runs on GPUs")
def test_the_kernel_for_gpus_gives_the_same_loss(rows: QuestionRows, collator: Collator) -> None:
    batch = {key: value.cuda() for key, value in collator.pack([rows[i] for i in range(len(rows))]).items()}
    losses = []
    for attention in ("sdpa", PACKED_ATTENTION):
        model = VLAModel(load_backbone("tiny", dtype="bfloat16", attention=attention)).cuda()
        losses.append(model(**batch)["loss"])
    torch.testing.assert_close(losses[0], losses[1], atol=2e-2, rtol=2e-2)


def test_tokens_are_counted_without_decoding(
    rows: QuestionRows, collator: Collator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From headers and text alone, exactly; the second time out of the cache."""
    expected = [len(collator.pack([rows[index]])["input_ids"][0]) for index in range(len(rows))]
    monkeypatch.setattr("vst_vla.vla.data.records.decode_picture", None)
    monkeypatch.setattr("vst_vla.vla.data.records.read_frames", None)
    assert measure(rows, collator=collator).tolist() == expected
    monkeypatch.setattr(Collator, "count_tokens", None)
    assert measure(rows, collator=collator).tolist() == expected


def test_rows_that_are_too_long_or_cannot_be_used_are_left_out_and_counted(
    upstream_layout: ModuleType, collator: Collator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = upstream_layout.rows()
    records[1]["images"][0]["bytes"] = b"no picture"
    records[4]["images"][0]["bytes"] = b"no video"
    upstream_layout.write(tmp_path / "a.parquet", records)
    broken = QuestionRows(tmp_path, fov=FovTarget(), max_pixels=12544, verify=False)
    counted = measure(broken, collator=collator)
    assert [index for index, tokens in enumerate(counted) if tokens == UNUSABLE] == [1, 4]
    assert broken.get(1) is None
    with caplog.at_level("WARNING"):
        kept = usable(counted, limit=100, name="ours")
    assert kept.tolist() == [index for index, tokens in enumerate(counted) if 0 < tokens <= 100]
    assert "ours: left out 1 rows of more than 100 tokens and 2 unusable" in caplog.text
    with pytest.raises(ValueError, match="none of the conversations that share a row can be read"):
        collator.pack([])
