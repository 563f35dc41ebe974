"""Eight-bit weights: what they take and how far they lead, and what is said where they cannot be had."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vst_vla.policies.vla_policy import VLAPolicy
from vst_vla.vla.contracts import STATE_KEY, TASK_KEY
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.fast.forward import PreparedForward
from vst_vla.vla.fast.graphs import Inputs
from vst_vla.vla.fast.path import FastPath
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel
from vst_vla.vla.quantize import block_bytes, check_quantization, quantize
from vst_vla.vla.room import half_bytes, weight_bytes

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
needs_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")


@pytest.fixture
def observations(robot_folder: Path) -> list[dict]:
    data = RobotDataset(robot_folder, chunk=4)
    return [{key: value for key, value in data[index].items() if "action" not in key} for index in range(6)]


@pytest.fixture(params=["parallel", "flow", "tokens", "fast"])
def model(request: pytest.FixtureRequest, head_batches: ModuleType, robot_folder: Path) -> VLAModel:
    """A policy with random weights that reacts to what it sees."""
    made: VLAModel = head_batches.make_model(robot_folder, {"name": request.param, "chunk": 4}).eval()
    layers = made.vlm.model.language_model.layers
    for name, weights in [*made.head.named_parameters(), *layers.named_parameters()]:  # type: ignore[union-attr]
        if "norm" not in name:
            torch.nn.init.normal_(weights, std=0.08)
    return made


@needs_torchao
def test_blocks_take_a_quarter_and_both_paths_act_alike(model: VLAModel, observations: list[dict]) -> None:
    pipeline = InferencePipeline(model)
    before, whole = block_bytes(model.vlm), weight_bytes(model)
    quantize(model.vlm, "int8")
    assert block_bytes(model.vlm) < 0.29 * before  # a byte a weight, and a scale and an offset a row
    assert half_bytes(model) < weight_bytes(model) == whole - before + block_bytes(model.vlm)
    plain = model.predict(pipeline.inputs(observations))
    path = FastPath(model, pipeline=pipeline)
    assert block_bytes(model.vlm) < 0.29 * before
    torch.testing.assert_close(path.predict(observations), plain, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.predict(pipeline.inputs(observations)), plain, atol=1e-4, rtol=1e-4)
    weight = model.vlm.model.language_model.layers[0].mlp.up_proj.weight
    fused = path._forward._language.layers[0].gate_up
    assert weight.qdata.untyped_storage().data_ptr() == fused.qdata.untyped_storage().data_ptr(), "held twice"


@needs_torchao
@pytest.mark.parametrize("model", ["parallel", "flow"], indirect=True)
def test_actions_stay_near(model: VLAModel, observations: list[dict]) -> None:
    """By a few percent of their range; two observations are at least a tenth of it apart."""
    pipeline = InferencePipeline(model)
    exact = FastPath(model, pipeline=pipeline).predict(observations)
    span = exact.max() - exact.min()
    assert (exact[0] - exact[1]).abs().max() > 0.1 * span, "the pictures matter, or nearness says nothing"
    quantize(model.vlm, "int8")
    found = FastPath(model, pipeline=pipeline).predict(observations)
    assert 0 < (found - exact).abs().max() < 0.04 * span


@needs_torchao
def test_a_policy_of_a_folder(
    head_batches: ModuleType, robot_folder: Path, observations: list[dict], tmp_path: Path
) -> None:
    """In bfloat16 too, where the bytes of the blocks are halved; batches and single calls agree as ever."""
    head_batches.make_model(robot_folder, {"name": "parallel", "chunk": 4}).save(tmp_path / "model")
    for dtype, share in (("auto", 0.29), ("bfloat16", 0.55)):
        plain = VLAPolicy(tmp_path / "model", device="cpu", dtype=dtype)
        small = VLAPolicy(tmp_path / "model", device="cpu", dtype=dtype, quantize="int8")
        assert block_bytes(small._path._model.vlm) < share * block_bytes(plain._path._model.vlm)
        assert small.checkpoint == f"{plain.checkpoint}+int8", "records of episodes tell them apart"
        few = small.infer_batch(observations[:3])
        for observation, ours in zip(observations, few, strict=False):
            wanted, alone = plain.infer(observation)["actions"], small.infer(observation)["actions"]
            scale = abs(wanted).max()
            assert abs(ours["actions"] - wanted).max() < 0.1 * scale
            assert abs(ours["actions"] - alone).max() < 0.05 * scale


@needs_torchao
def test_fp8_is_for_gpus_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match=r"fp8 needs a GPU of compute capability 8\.9 or more, the policy is on the cpu"
    ):
        check_quantization("fp8", device=CPU)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with pytest.raises(ValueError, match=r"'NVIDIA A100' has 8\.0 and supports int8: use policy\.quantize=int8"):
        check_quantization("fp8", device=GPU)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    check_quantization("fp8", device=GPU)
    check_quantization("int8", device=CPU)


def test_a_near_miss_and_a_missing_package_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, head_batches: ModuleType, robot_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"unknown policy\.quantize 'int4'.*int8"):
        check_quantization("int4", device=CPU)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchao", None)
    head_batches.make_model(robot_folder, {"name": "parallel", "chunk": 4}).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"quantize=int8 needs torchao .*pip install 'vst-vla\[quant\]'") as refused:
        VLAPolicy(tmp_path / "model", device="cpu", quantize="int8")
    assert "\n" not in str(refused.value)


@needs_torchao
@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("model", ["parallel", "flow"], indirect=True)
def test_a_gpu_could_capture_it(model: VLAModel, observations: list[dict], kind: str) -> None:
    """Tensors without values refuse whatever needs one on the host; fp8's arithmetic runs here too, for its shapes."""
    quantize(model.vlm, kind)
    pipeline = InferencePipeline(model)
    forward, samples = PreparedForward(model, collator=pipeline.collator), pipeline.samples(observations[:2])
    assert model.spec is not None
    pictures = tuple(torch.stack([torch.from_numpy(s[key]) for s in samples]) for key in model.spec.picture_keys)
    state = torch.stack([torch.from_numpy(sample[STATE_KEY]) for sample in samples])
    rows = forward.rows([sample[TASK_KEY] for sample in samples], multiple=1)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        assert forward(Inputs(rows=rows, pictures=pictures, state=state)).shape == (2, 4, 7)
