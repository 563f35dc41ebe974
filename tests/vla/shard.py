"""Run by torchrun: one training step of the tiny model under FSDP2, sharded as configs/accelerate/fsdp2.yaml says.

usage: shard.py FSDP2_YAML BATCHES OUT: the first process writes the loss and every gradient and weight, gathered.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
import yaml
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard

from vst_vla.vla.backbone import load_backbone, use_attention
from vst_vla.vla.model import VLAModel
from vst_vla.vla.packing import PACKED_ATTENTION


def main(config: str, batches: str, out: str) -> None:
    dist.init_process_group("gloo")
    with open(config) as file:
        names = yaml.safe_load(file)["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"].split(",")
    model = VLAModel(load_backbone("tiny")).train()
    use_attention(model.vlm, PACKED_ATTENTION)
    for module in [m for m in model.modules() if type(m).__name__ in names]:
        fully_shard(module)
    fully_shard(model)
    loss = model(**torch.load(batches)[dist.get_rank()])["loss"]
    loss.backward()
    gradients = {name: p.grad.full_tensor() for name, p in model.named_parameters()}
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if dist.get_rank() == 0:
        torch.save({"gradients": gradients, "weights": weights, "sharded": len(names)}, out)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
