"""How a backbone's transformer blocks are trained: which activations they keep, and whether they are compiled.

Both leave results, names of weights and checkpoints as they are.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any

import torch
import torch.nn.attention.varlen  # registers its operator
from torch.utils.checkpoint import create_selective_checkpoint_contexts
from transformers import Qwen2_5_VLForConditionalGeneration

SELECTIVE = "selective"
"""A way of checkpointing beside all (True) and nothing (False)."""


def checkpointing_arguments(*, selective: bool) -> dict[str, Any]:
    """Of `torch.utils.checkpoint.checkpoint`: everything is computed again, or all but the expensive operators."""
    arguments: dict[str, Any] = {"use_reentrant": False}
    if selective:
        arguments["context_fn"] = partial(create_selective_checkpoint_contexts, kept_operators())
    return arguments


def kept_operators() -> list[Any]:
    """Matrix products and attention, in all of PyTorch's kernels: nearly all of a block's arithmetic.

    What is computed again are norms, rotations, activations and sums, each about one reading of memory.
    """
    aten = torch.ops.aten
    return [
        aten.mm.default,
        aten.addmm.default,
        aten.bmm.default,
        aten.baddbmm.default,
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
        torch.ops.torch_attn._varlen_attn.default,
    ]


def compile_blocks(vlm: Qwen2_5_VLForConditionalGeneration, *, backend: str = "inductor") -> None:
    """Compiles norms and MLPs of every block of the vision tower and the language model, in place.

    Blocks of a kind share what is compiled. Attention stays as it is: heads listen to its projections
    (`memory.read_memory`), and its segments differ from batch to batch, so that it would be compiled anew for most.
    Hooks on a block, by which FSDP2 gathers weights and `geometry.supervision` listens, run as they are.

    Args:
        vlm: the backbone, adapters included.
        backend: of `torch.compile`.
    """
    blocks = [(block.norm1, block.norm2, block.mlp) for block in vlm.model.visual.blocks]
    for layer in vlm.model.language_model.layers:
        blocks.append((layer.input_layernorm, layer.post_attention_layernorm, layer.mlp))
    for part in chain.from_iterable(blocks):
        # `part.compile()` compiles Module's own call: one function of all, of which PyTorch keeps eight variants.
        part.forward = torch.compile(part.forward, backend=backend)
