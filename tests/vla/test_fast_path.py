"""The prepared inference against the plain path, in float32 on the CPU: every head, any batch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import (
    ACTION_KEY,
    COMMITTED_KEY,
    IMAGE_KEYS,
    LIBERO_STATE,
    STATE_KEY,
    TASK_KEY,
    Observation,
)
from vst_vla.vla.fast.forward import PreparedForward
from vst_vla.vla.fast.graphs import FixedInputs, Inputs, tensors
from vst_vla.vla.fast.path import FastPath, gpu_batch
from vst_vla.vla.fast.recent import Recent
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.spec import ModelSpec

TASKS = ("pick up the soup", "put both the alphabet soup and the tomato sauce in the basket", "open the drawer")
HEADS = ("parallel", "flow", "tokens", "fast")


def feature(width: int) -> FeatureStats:
    low, top, middle = (-1.0,) * width, (1.0,) * width, (0.0,) * width
    return FeatureStats(mean=middle, std=top, min=low, max=top, q01=low, q99=top)


def make_model(head: str, **spec: Any) -> VLAModel:
    """A policy with random weights that reacts to what it sees."""
    torch.manual_seed(0)
    stats = NormStats({ACTION_KEY: feature(7), STATE_KEY: feature(8)})
    made = ModelSpec(head={"name": head, "chunk": 4}, **({"crop": 0.94, "image_size": 56} | spec))
    model = VLAModel(load_backbone("tiny"), spec=made, norm_stats=stats).eval()
    assert model.head is not None
    model.head.fit(np.random.default_rng(0).uniform(-1, 1, (64, 4, 7)))
    for name, weights in [*model.head.named_parameters(), *model.vlm.model.language_model.layers.named_parameters()]:
        if "norm" not in name:
            torch.nn.init.normal_(weights, std=0.08)
    return model


def observe(number: int, *, size: int = 64, task: str = TASKS[0], keys: tuple[str, ...] = IMAGE_KEYS) -> Observation:
    rng = np.random.default_rng(number)
    pictures = {key: rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for key in keys}
    return {**pictures, STATE_KEY: rng.uniform(-0.5, 0.5, 8).astype(np.float32), TASK_KEY: task}


def plainly(model: VLAModel, pipeline: InferencePipeline, observations: list[Observation]) -> torch.Tensor:
    return model.predict(pipeline.inputs(observations))


def both(model: VLAModel) -> tuple[InferencePipeline, FastPath]:
    pipeline = InferencePipeline(model)
    return pipeline, FastPath(model, pipeline=pipeline)


def test_past_pictures_take_part() -> None:
    model = make_model("parallel", history=(3,))
    assert model.spec is not None
    seen = [observe(number, keys=model.spec.picture_keys) for number in range(2)]
    moved = seen[0] | {model.spec.picture_keys[0]: seen[1][model.spec.picture_keys[0]]}
    batch, pipeline = [*seen, moved], InferencePipeline(model)
    expected = plainly(model, pipeline, batch)
    assert (expected[0] - expected[2]).abs().max() > 1e-3
    torch.testing.assert_close(FastPath(model, pipeline=pipeline).predict(batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("state", [LIBERO_STATE, None])
def test_every_head_gives_what_the_plain_path_gives(head: str, state: Any) -> None:
    model = make_model(head, state=state)
    batches = [[observe(0)], [observe(number, task=task) for number, task in enumerate(TASKS)], [observe(5)]]
    pipeline = InferencePipeline(model)
    expected = [plainly(model, pipeline, batch) for batch in batches]
    assert (expected[0] - expected[2]).abs().max() > 1e-3, "the pictures matter, or equality says nothing"
    path = FastPath(model, pipeline=pipeline)
    for batch, wanted in zip(batches, expected, strict=True):
        torch.testing.assert_close(path.predict(batch), wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plainly(model, pipeline, batch), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [112, 140, 252])
def test_windows_and_cameras_do_not_matter(size: int) -> None:
    """One window, windows of unequal sizes, and layers that look at windows only."""
    for camera_embedding in (True, False):
        model = make_model("parallel", image_size=size, camera_embedding=camera_embedding)
        model.vlm.model.visual.fullatt_block_indexes = [1]
        pipeline, path = both(model)
        batch = [observe(0, size=300), observe(1, size=300, task=TASKS[1])]
        torch.testing.assert_close(path.predict(batch), plainly(model, pipeline, batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", ["parallel", "flow"])
def test_in_bfloat16_it_is_as_near_to_float32_as_the_plain_path(head: str) -> None:
    batch = [observe(number, task=task) for number, task in enumerate(TASKS)]
    exact = make_model(head)
    wanted = plainly(exact, InferencePipeline(exact), batch)
    model = make_model(head)
    model.vlm.to(torch.bfloat16)
    pipeline = InferencePipeline(model)
    plain = (plainly(model, pipeline, batch) - wanted).abs().max()
    fast = (FastPath(model, pipeline=pipeline).predict(batch) - wanted).abs().max()
    assert 0 < fast < 2 * plain


def test_a_flow_continues_committed_actions() -> None:
    model = make_model("flow")
    pipeline, path = both(model)
    batch = [observe(0) | {COMMITTED_KEY: np.full((2, 7), 0.25, np.float32)}, observe(1, task=TASKS[1])]
    path.predict(batch[1:])  # what it keeps must serve with gradients too
    expected = plainly(model, pipeline, batch)
    assert (expected - plainly(model, pipeline, [observe(0), batch[1]])).abs().max() > 1e-3
    torch.testing.assert_close(path.predict(batch), expected, atol=1e-5, rtol=1e-5)


def test_a_new_picture_size_takes_the_plain_path_once_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model("parallel")
    pipeline, path = both(model)
    calls = []
    plain = model.predict
    monkeypatch.setattr(model, "predict", lambda batch: calls.append(1) or plain(batch))
    with caplog.at_level(logging.WARNING):
        path.predict([observe(0)])
        assert (len(calls), len(caplog.records)) == (0, 0), "the first size is what it is prepared for"
        first = path.predict([observe(0, size=80)])
        assert (len(calls), len(caplog.records)) == (1, 1)
        assert "pictures of 80x80, 80x80 px are new here" in caplog.text
        second = path.predict([observe(0, size=80)])
        path.predict([observe(0)])
        assert (len(calls), len(caplog.records)) == (1, 1)
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    mixed = [observe(0), observe(1, size=80)]
    torch.testing.assert_close(path.predict(mixed), plain(pipeline.inputs(mixed)), atol=0, rtol=0)
    assert len(calls) == 2


def inputs_for(forward: PreparedForward, *, multiple: int = 1, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    pictures = tuple(
        torch.randint(0, 256, (len(TASKS), 56, 56, 3), dtype=torch.uint8, generator=generator) for _ in IMAGE_KEYS
    )
    return Inputs(
        rows=forward.rows(TASKS, multiple=multiple),
        pictures=pictures,
        state=torch.randn(len(TASKS), 8, generator=generator),
    )


@pytest.mark.parametrize("head", HEADS)
def test_rows_filled_up_as_for_a_gpu_give_the_same(head: str) -> None:
    model = make_model(head)
    forward = PreparedForward(model, collator=InferencePipeline(model).collator)
    exact, filled = inputs_for(forward), inputs_for(forward, multiple=64)
    assert filled.rows.is_real.shape[1] % 64 == 0
    assert filled.rows.is_real.shape[1] > exact.rows.is_real.shape[1]
    with torch.inference_mode():
        torch.testing.assert_close(forward(filled), forward(exact), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_nothing_in_it_waits_for_the_device(head: str) -> None:
    """Tensors without values refuse whatever needs one on the host; what does cannot be captured."""
    model = make_model(head)
    forward = PreparedForward(model, collator=InferencePipeline(model).collator)
    inputs = inputs_for(forward)
    assert model.head is not None
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        if model.head.waits:
            with pytest.raises(DataDependentOutputException):
                forward(inputs)
        else:
            assert forward(inputs).shape == (len(TASKS), 4, 7)


class Replayed:
    """In place of a CUDA graph: the same inputs at the same addresses, run anew."""

    made: ClassVar[list[tuple[int, ...]]] = []

    def __init__(self, forward: Callable[[Inputs], torch.Tensor], like: Inputs, *, device: torch.device) -> None:
        self._forward, self._fixed = forward, FixedInputs(like, device=device)
        self.made.append(tuple(like.rows.is_real.shape))

    def __call__(self, given: Inputs) -> torch.Tensor:
        self._fixed.take(given)
        return self._forward(self._fixed.inputs)


@pytest.mark.parametrize("head", HEADS)
def test_the_way_of_a_gpu_gives_the_same(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it but the capture: raw pictures, filled batches, one graph a shape, none for a head that waits."""
    model = make_model(head)
    pipeline, path = both(model)
    monkeypatch.setattr("vst_vla.vla.fast.path.CapturedForward", Replayed)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(path, "_on_gpu", True)
    Replayed.made.clear()
    several = [observe(number, task=task) for number, task in enumerate(TASKS)]
    for batch in ([observe(0)], several, [observe(7), *several[1:]], [observe(8, task=TASKS[2])], several[::-1]):
        torch.testing.assert_close(path.predict(batch), plainly(model, pipeline, batch), atol=1e-5, rtol=1e-5)
    assert model.head is not None
    assert {rows for rows, _ in Replayed.made} == (set() if model.head.waits else {1, 4})
    assert len(set(Replayed.made)) == len(Replayed.made), "one a shape, whatever the instructions are"
    assert all(length % 16 == 0 for _, length in Replayed.made)


def test_fixed_inputs_keep_their_place_and_take_rows_when_they_change() -> None:
    model = make_model("parallel")
    forward = PreparedForward(model, collator=InferencePipeline(model).collator)
    first, second = inputs_for(forward), inputs_for(forward, seed=1)
    fixed = FixedInputs(first, device=torch.device("cpu"))
    places = [part.data_ptr() for part in (*tensors(fixed.inputs.rows), *fixed.inputs.pictures, fixed.inputs.state)]
    assert not set(places) & {part.data_ptr() for part in tensors(first.rows)}
    other = Inputs(rows=second.rows, pictures=second.pictures, state=second.state)
    other.rows.embeds.neg_()
    for given in (first, other, first):
        fixed.take(given)
        with torch.inference_mode():
            torch.testing.assert_close(forward(fixed.inputs), forward(given), atol=0, rtol=0)
    now = [part.data_ptr() for part in (*tensors(fixed.inputs.rows), *fixed.inputs.pictures, fixed.inputs.state)]
    assert now == places


def test_what_is_kept_is_bounded_and_the_oldest_goes() -> None:
    recent: Recent[int, int] = Recent(2)
    made: list[int] = []

    def make(key: int) -> int:
        return recent.get(key, lambda: made.append(key) or key)

    assert [make(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]
    assert len(recent) == 2


def test_batches_of_a_gpu() -> None:
    assert [gpu_batch(count) for count in (1, 3, 8, 9, 16, 17, 40)] == [1, 4, 8, 16, 16, 32, 48]
