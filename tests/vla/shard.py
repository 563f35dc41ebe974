"""Run by torchrun: one step's gradients of the tiny model under FSDP2, sharded as configs/accelerate/fsdp2.yaml says.

usage: shard.py FSDP2_YAML BATCHES OUT WAY: the first process writes the loss and every gradient and weight, gathered.
WAY is plain, or what is made of the blocks: selective or compiled; or replicated: compiled and under DDP instead.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
import yaml
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from vst_vla.vla.backbone import load_backbone, use_attention
from vst_vla.vla.blocks import SELECTIVE, compile_blocks
from vst_vla.vla.model import VLAModel
from vst_vla.vla.packing import PACKED_ATTENTION


def main(config: str, batches: str, out: str, way: str) -> None:
    dist.init_process_group("gloo")
    model = VLAModel(load_backbone("tiny")).train()
    use_attention(model.vlm, PACKED_ATTENTION)
    if way == SELECTIVE:
        model.gradient_checkpointing_enable({SELECTIVE: True})
    if way in ("compiled", "replicated"):
        compile_blocks(model.vlm, backend="aot_eager")
    spread = (
        DistributedDataParallel(model, find_unused_parameters=True) if way == "replicated" else shard(model, config)
    )
    spread(**torch.load(batches)[dist.get_rank()])["loss"].backward()
    gradients = {name: whole(parameter.grad) for name, parameter in model.named_parameters()}
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if dist.get_rank() == 0:
        torch.save({"gradients": gradients, "weights": weights}, out)
    dist.barrier()
    dist.destroy_process_group()


def shard(model: VLAModel, config: str) -> VLAModel:
    with open(config) as file:
        names = yaml.safe_load(file)["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"].split(",")
    for module in [m for m in model.modules() if type(m).__name__ in names]:
        fully_shard(module)
    return fully_shard(model)


def whole(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient


if __name__ == "__main__":
    main(*sys.argv[1:])
