"""The flow head's integration, prepared: what follows from the times of its steps alone is computed once.

The times are the same at every call, so are the scales, shifts and gains of the expert's adaptive norms. The prompt's
keys and values are put in front of the expert's once a call and not once a step.

Letters in shapes: B batch, n own tokens, C chunk, A action, W width, L prompt tokens, g key-value heads of width d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vst_vla.vla.fast.layers import additive, attend_masked, fused, signed, turn
from vst_vla.vla.heads.base import ActingPrompts
from vst_vla.vla.heads.euler import integrate
from vst_vla.vla.heads.expert import ExpertLayer, sines
from vst_vla.vla.heads.flow import FlowHead
from vst_vla.vla.memory import Rotation

Modulation = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""1 + scale, shift, 1 + gain, each (W,), of one norm at one time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpertWeights:
    """A layer of the expert; products that share their input are stored as one."""

    qkv: torch.Tensor
    qkv_bias: torch.Tensor
    out: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor
    heads: tuple[int, int, int]  # query heads, key-value heads, their width
    before: tuple[Modulation, ...]  # a step each
    between: tuple[Modulation, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Room:
    """A layer's keys and values, (B,L+n,g,d): the prompt's, and behind them those of the expert's tokens."""

    keys: torch.Tensor
    values: torch.Tensor


class PreparedFlow:
    """`FlowHead.predict` without a beginning.

    Args:
        head: the head; its weights stay its own (see `layers.fused`).
    """

    def __init__(self, head: FlowHead) -> None:
        self._head, self._steps = head, head.steps
        times = torch.tensor([1 - step / head.steps for step in range(head.steps)], device=head.noise.device)
        with torch.no_grad():
            when = head.expert.time(sines(times[None], width=head.expert.width))[0]  # (steps, W)
            self._layers = [_weights(layer, when) for layer in head.expert.layers]

    def __call__(self, prompts: ActingPrompts) -> torch.Tensor:
        """Normalised actions (B,C,A) float32."""
        head, steps = self._head, iter(range(self._steps))
        memory = head.remember(prompts)
        own = None
        if head.embed_state is not None and prompts.state is not None:
            own = head.embed_state(prompts.state.float())[:, None]
        count = head.chunk + head.num_slots
        room = [_room(*pair, count=count) for pair in zip(memory.keys, memory.values, strict=True)]
        mask = additive(F.pad(memory.is_real, (0, count), value=True)[:, None, None], dtype=head.noise.dtype)
        cos, sin = (table.transpose(1, 2) for table in memory.rotation)
        rotation = signed((cos.float(), sin.float()))

        def velocity(noisy: torch.Tensor, time: float) -> torch.Tensor:
            tokens, step = head.embed_action(noisy), next(steps)
            tokens = tokens if own is None else torch.cat([own, tokens], dim=1)
            for weights, there in zip(self._layers, room, strict=True):
                tokens = _layer(tokens, weights, step=step, room=there, rotation=rotation, mask=mask)
            decoded: torch.Tensor = head.decode(head.expert.norm(tokens[:, -head.chunk :]))
            return decoded

        return integrate(velocity, head.noise.expand(prompts.batch_size, -1, -1), steps=self._steps)


def _weights(layer: ExpertLayer, when: torch.Tensor) -> ExpertWeights:
    qkv, qkv_bias = fused([layer.query, layer.key, layer.value])
    assert qkv_bias is not None
    width = layer.head_dim
    counts = [len(part.weight) // width for part in (layer.query, layer.key)]
    return ExpertWeights(
        qkv=qkv,
        qkv_bias=qkv_bias,
        out=fused([layer.out])[0],
        gate_up=fused([layer.gate, layer.up])[0],
        down=fused([layer.down])[0],
        heads=(counts[0], counts[1], width),
        before=_modulations(layer.before.modulate(when)),
        between=_modulations(layer.between.modulate(when)),
    )


def _modulations(made: torch.Tensor) -> tuple[Modulation, ...]:
    """(steps, 3 W) -> a norm's factors at each step."""
    scale, shift, gain = made.chunk(3, dim=-1)
    return tuple(zip((1 + scale).unbind(), shift.unbind(), (1 + gain).unbind(), strict=True))


def _room(keys: torch.Tensor, values: torch.Tensor, *, count: int) -> Room:
    """(B,g,L,d) of the prompt, with room for `count` tokens behind it; in float32, as heads compute."""
    wide = [F.pad(part.transpose(1, 2).float(), (0, 0, 0, 0, 0, count)) for part in (keys, values)]
    return Room(keys=wide[0], values=wide[1])


def _layer(
    tokens: torch.Tensor, weights: ExpertWeights, *, step: int, room: Room, rotation: Rotation, mask: torch.Tensor
) -> torch.Tensor:
    """(B,n,W) -> (B,n,W)."""
    count = tokens.shape[1]
    scale, shift, gain = weights.before[step]
    seen = torch.addcmul(shift, F.rms_norm(tokens, tokens.shape[-1:]), scale)
    queries, keys, width = weights.heads
    both = F.linear(seen, weights.qkv, weights.qkv_bias).unflatten(-1, (-1, width))
    turned = turn(both[:, :, : queries + keys], rotation)
    room.keys[:, -count:], room.values[:, -count:] = turned[:, :, queries:], both[:, :, queries + keys :]
    mixed = attend_masked(turned[:, :, :queries], room.keys, room.values, mask=mask)
    tokens = torch.addcmul(tokens, gain, F.linear(mixed, weights.out))
    scale, shift, gain = weights.between[step]
    seen = torch.addcmul(shift, F.rms_norm(tokens, tokens.shape[-1:]), scale)
    gate, up = F.linear(seen, weights.gate_up).chunk(2, dim=-1)
    return torch.addcmul(tokens, gain, F.linear(F.silu(gate) * up, weights.down))
