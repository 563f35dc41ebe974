"""What is kept of a block's activations and whether it is compiled changes memory and speed, and no result."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from vst_vla.vla.blocks import SELECTIVE, checkpointing_arguments, compile_blocks, kept_operators
from vst_vla.vla.data.collate import Batch
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train import run
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.rl_recipe import RLRecipe
from vst_vla.vla.train.run import train
from vst_vla.vla.train.trainer import VLATrainer, latest_checkpoint

compile_quickly = partial(compile_blocks, backend="aot_eager")  # PyTorch's compiler without its C++


def full(model: VLAModel) -> None:
    model.gradient_checkpointing_enable()


def selective(model: VLAModel) -> None:
    model.gradient_checkpointing_enable({SELECTIVE: True})


def compiled(model: VLAModel) -> None:
    compile_quickly(model.vlm)


def compiled_full(model: VLAModel) -> None:
    compiled(model)
    full(model)


class Watched(TorchDispatchMode):
    """Counts operators, and how many bytes of what they made, weights apart, are still held."""

    def __init__(self, model: VLAModel) -> None:
        super().__init__()
        self.counts: Counter[Any] = Counter()
        self._weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        self._made: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func] += 1
        made = func(*args, **(kwargs or {}))
        for leaf in torch.utils._pytree.tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self._made[storage._cdata] = weakref.ref(storage)
        return made

    @property
    def products(self) -> int:
        return sum(self.counts[operator] for operator in kept_operators())

    @property
    def held(self) -> int:
        alive = (reference() for key, reference in self._made.items() if key not in self._weights)
        return sum(storage.nbytes() for storage in alive if storage is not None)


def fresh(head_batches: ModuleType, folder: Path, head: str) -> tuple[VLAModel, Batch]:
    model = head_batches.make_model(folder, {"name": head, "chunk": 4}).train()
    return model, head_batches.make_batch(folder, model)


def gradients(model: VLAModel, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(0)  # the flow's noise
    loss = model(**batch)["loss"]
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("head", ["parallel", "flow"])
@pytest.mark.parametrize("way", [full, selective, compiled, compiled_full])
def test_losses_and_gradients_stay(
    head_batches: ModuleType, robot_folder: Path, head: str, way: Callable[[VLAModel], None]
) -> None:
    """A parameter without a gradient keeps none: a gradient of zeros would let its weight decay."""
    model, batch = fresh(head_batches, robot_folder, head)
    loss, expected = gradients(model, batch)
    model, _ = fresh(head_batches, robot_folder, head)
    names = list(model.state_dict())
    way(model)
    assert list(model.state_dict()) == names
    again, found = gradients(model, batch)
    torch.testing.assert_close(again, loss, rtol=1e-5, atol=0)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        error = (gradient - expected[name]).norm() / expected[name].norm().clamp(min=1e-12)
        assert error < 1e-5, name


def costs(head_batches: ModuleType, folder: Path, way: Callable[[VLAModel], None] | None) -> tuple[int, int]:
    """Bytes that a forward pass leaves, and products in the backward pass."""
    model, batch = fresh(head_batches, folder, "parallel")
    if way is not None:
        way(model)
    model(**batch)["loss"].backward()  # what a first pass makes for good
    with Watched(model) as forward:
        loss = model(**batch)["loss"]
    held = forward.held
    with Watched(model) as backward:
        loss.backward()
    return held, backward.products


def test_selective_keeps_more_than_full_and_computes_no_product_twice(
    head_batches: ModuleType, robot_folder: Path
) -> None:
    (plain_bytes, plain), (full_bytes, everything), (some_bytes, some) = (
        costs(head_batches, robot_folder, way) for way in (None, full, selective)
    )
    assert full_bytes < 0.5 * some_bytes
    assert some_bytes < 0.8 * plain_bytes
    assert some == plain < everything


def saved_bytes(model: VLAModel, batch: Batch) -> int:
    """Of the activations that the backward pass is given; what runs compiled is seen by no dispatch mode."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(**batch)["loss"]
    assert loss.requires_grad
    return sum(size for place, size in seen.items() if place not in weights)


def test_compiled_blocks_keep_less_by_themselves(head_batches: ModuleType, robot_folder: Path) -> None:
    model, batch = fresh(head_batches, robot_folder, "parallel")
    plain = saved_bytes(model, batch)
    compiled(model)
    assert saved_bytes(model, batch) < 0.9 * plain


def test_what_blocks_have_in_common_is_compiled_once(head_batches: ModuleType, robot_folder: Path) -> None:
    """Norms and MLPs of the tower and of the language model, whatever the batch: eight graphs at the most."""
    made: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        made.append(len(inputs))
        return graph.forward

    torch._dynamo.reset()
    model, _ = fresh(head_batches, robot_folder, "flow")
    compile_blocks(model.vlm, backend=backend)
    for count in (2, 3, 5, 4, 3):
        model(**head_batches.make_batch(robot_folder, model, count=count))
    assert 4 <= len(made) <= 8


def test_a_compiled_run_with_adapters_dies_goes_on_plainly_and_ends_as_a_plain_one(
    learning_data: ModuleType, robot_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled or not is no setting that a run must keep; the average of the weights is there too."""
    monkeypatch.setattr(run, "compile_blocks", compile_quickly)
    options = {"lora_rank": 4, "lora_parts": ("vision", "language"), "ema": 0.9, "optimizer": "adamw"}
    head = {"name": "flow", "chunk": 4}
    start = partial(train, head=head, robot=robot_folder, backbone="tiny")
    plainly = learning_data.small_recipe(**options)
    expected = start(tmp_path / "plain", recipe=plainly)
    saved = VLATrainer._save_checkpoint

    def dying(self: VLATrainer, *args: object, **kwargs: object) -> None:
        saved(self, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(VLATrainer, "_save_checkpoint", dying)
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path / "compiled", recipe=learning_data.small_recipe(**options, compile=True))
    ours, theirs = (latest_checkpoint(tmp_path / name / "run") for name in ("compiled", "plain"))
    assert ours is not None
    assert theirs is not None
    assert ours.name == "checkpoint-2"
    assert load_file(ours / "model.safetensors").keys() == load_file(theirs / "model.safetensors").keys()
    found = start(tmp_path / "compiled", recipe=plainly)
    weights, wanted = (load_file(folder / "model.safetensors") for folder in (found, expected))
    assert weights.keys() == wanted.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, wanted[name], rtol=1e-3, atol=1e-5)


def test_a_run_takes_the_selective_way(
    learning_data: ModuleType, robot_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def arguments(*, selective: bool) -> dict[str, Any]:
        asked.append(selective)
        return checkpointing_arguments(selective=selective)

    monkeypatch.setattr("vst_vla.vla.model.checkpointing_arguments", arguments)
    head = {"name": "parallel", "chunk": 4}
    for way in (SELECTIVE, True):
        recipe = learning_data.small_recipe(gradient_checkpointing=way, steps=1)
        train(tmp_path / str(way), recipe=recipe, head=head, robot=robot_folder)
    assert asked == [True, False]


def test_selective_in_bfloat16(head_batches: ModuleType, robot_folder: Path) -> None:
    """Weights are rounded on the way; rounded again they are the same."""
    results = []
    for way in (None, selective):
        model, batch = fresh(head_batches, robot_folder, "parallel")
        if way is not None:
            way(model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            results.append(gradients(model, batch))
    assert torch.equal(results[0][0], results[1][0])
    for name, gradient in results[1][1].items():
        torch.testing.assert_close(gradient, results[0][1][name])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient_checkpointing": "selectiv"}, r"unknown recipe\.gradient_checkpointing 'selectiv'.*selective"),
        ({"gradient_checkpointing": 2}, r"unknown recipe\.gradient_checkpointing '2'"),
        ({"compile": "blocks"}, r"recipe\.compile is blocks, expected true or false"),
        ({"compile": True, "gradient_checkpointing": SELECTIVE}, r"compile=true chooses by itself what to keep"),
    ],
)
def test_bad_values_are_refused_in_a_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Recipe(name="test", steps=1, batch_size=1, learning_rate=1e-3, **settings)
    assert "\n" not in str(caught.value)


def test_reinforcement_says_that_it_has_no_selective_way() -> None:
    with pytest.raises(ValueError, match=r"rl\.gradient_checkpointing is selective, expected true or false"):
        RLRecipe(name="test", steps=1, gradient_checkpointing=SELECTIVE)
