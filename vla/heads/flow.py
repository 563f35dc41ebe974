"""Flow matching: an expert beside the backbone turns noise into an action chunk in a few steps.

After π0 (Black et al. 2024), in openpi's convention: x_t = t noise + (1 - t) actions, the expert predicts dx/dt, and
acting integrates from t = 1 to 0. Times of training are drawn towards the noise, t = 0.001 + 0.999 Beta(1.5, 1).

Letters in shapes: B batch, R draws, K slots, S state, C chunk, A action, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vst_vla.vla.contracts import Array, unknown_name
from vst_vla.vla.heads.base import ActingPrompts, ActionHead, Prompts, Sizes, build, masked_mean, state_slot
from vst_vla.vla.heads.euler import Beginning, integrate
from vst_vla.vla.heads.expert import Expert
from vst_vla.vla.heads.fast import FastHead
from vst_vla.vla.heads.tokens import TokensHead
from vst_vla.vla.memory import Memory

TIME_POWER = 1 / 1.5  # u ** TIME_POWER is Beta(1.5, 1) for u uniform
MIN_TIME = 1e-3


class FlowHead(ActionHead):
    """One state token in the prompt and one in the expert (none without a state), and C noisy action tokens.

    The expert has a state token of its own because insulation cuts the prompt's off from the loss. Acting starts from
    the same noise every time, kept with the weights: a reply depends on its observation alone.

    Args:
        sizes: of the backbone and the robot.
        chunk: C.
        steps: of Euler integration when acting.
        width: the expert's over the backbone's.
        draws: times and noises a sample is trained with in one pass of the backbone.
        backbone_gradient: factor on the flow loss's gradient into the backbone: 1 all of it, 0 none (knowledge
            insulation, Driess et al. 2025), between or beyond scaled.
        discrete: a head of words, {"name": "fast" or "tokens", its options}, whose loss trains the backbone beside the
            flow, in a pass of its own; it is not used when acting. None for none.
        discrete_weight: factor on its loss.
    """

    name = "flow"
    acting_options = ("steps",)
    inpaints = True
    noise: torch.Tensor  # (C,A), where acting starts

    def __init__(
        self,
        *,
        sizes: Sizes,
        chunk: int = 8,
        steps: int = 10,
        width: float = 0.5,
        draws: int = 4,
        backbone_gradient: float = 1.0,
        discrete: Mapping[str, Any] | None = None,
        discrete_weight: float = 1.0,
    ) -> None:
        super().__init__(num_slots=int(sizes.state > 0), chunk=chunk, action_dim=sizes.action)
        for name, value in (("steps", steps), ("draws", draws)):
            if value < 1:
                raise ValueError(f"{name} of head flow is {value}, expected at least 1")
        if not backbone_gradient >= 0:
            raise ValueError(f"backbone_gradient of head flow is {backbone_gradient}, expected 0 (insulated) or more")
        self.steps, self.draws, self.backbone_gradient = steps, draws, float(backbone_gradient)
        inside = 2 * max(1, round(sizes.hidden * width / 2))
        self.discrete = None if discrete is None else _discrete_head(discrete, sizes=sizes, chunk=chunk)
        self.discrete_weight = discrete_weight
        self.slot = state_slot(sizes) if self.discrete is None else None  # else the discrete head's, which learns
        self.new_tokens = () if self.discrete is None else self.discrete.new_tokens
        self.embed_state = nn.Linear(sizes.state, inside) if sizes.state else None
        self.embed_action = nn.Linear(sizes.action, inside)
        self.expert = Expert(sizes=sizes, width=inside)
        self.decode = nn.Linear(inside, sizes.action)
        self.register_buffer("noise", torch.randn(chunk, sizes.action))

    def loss(self, prompts: Prompts, *, actions: torch.Tensor, action_is_pad: torch.Tensor) -> dict[str, torch.Tensor]:
        """Mean squared error of the velocity over draws and over the steps that are not padding."""
        noise = torch.randn(len(actions), self.draws, *actions.shape[1:], device=actions.device)
        time = MIN_TIME + (1 - MIN_TIME) * torch.rand(noise.shape[:2], device=actions.device) ** TIME_POWER
        target = noise - actions[:, None]
        noisy = noise - (1 - time[..., None, None]) * target
        velocity = self._velocity(noisy, time=time, state=prompts.state, memory=self.remember(prompts))
        error = (velocity - target).square().flatten(1, 2)
        loss = masked_mean(error, action_is_pad=action_is_pad.repeat(1, self.draws))
        logged = {"flow_mse": loss.detach()}
        if self.discrete is None:
            return {"loss": loss, **logged}
        words = self.discrete.loss(prompts, actions=actions, action_is_pad=action_is_pad)
        logged |= {"discrete_loss": words["loss"].detach(), "token_accuracy": words["token_accuracy"]}
        return {"loss": loss + self.discrete_weight * words["loss"], **logged}

    def predict(self, prompts: ActingPrompts, *, begin: Beginning | None = None) -> torch.Tensor:
        """Normalised actions (B,C,A), unbounded, after `steps` Euler steps; with `begin` they continue it."""
        memory = self.remember(prompts)

        def velocity(noisy: torch.Tensor, time: float) -> torch.Tensor:
            times = torch.full((len(noisy), 1), time, device=noisy.device)
            return self._velocity(noisy[:, None], time=times, state=prompts.state, memory=memory)[:, 0]

        noise = self.noise.expand(prompts.batch_size, -1, -1)
        return integrate(velocity, noise, steps=self.steps, begin=begin)

    def remember(self, prompts: ActingPrompts) -> Memory:
        """What the backbone's layers have of the prompts; as much gradient flows back as `backbone_gradient` says."""
        embed = self.slot if self.discrete is None else self.discrete.slot
        slot = None if embed is None else embed(prompts.state)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.backbone_gradient > 0):
            memory = prompts.remember(slot, num_after=self.chunk + self.num_slots)
        if self.backbone_gradient in (0.0, 1.0):
            return memory
        scaled = (_scale_gradient(part, self.backbone_gradient) for part in (memory.keys, memory.values))
        return replace(memory, keys=next(scaled), values=next(scaled))

    def take_tokens(self, ids: Sequence[int], *, end: int) -> None:
        """For the discrete head."""
        if self.discrete is not None:
            self.discrete.take_tokens(ids, end=end)

    def fit(self, chunks: Array) -> None:
        """Of the discrete head."""
        if self.discrete is not None:
            self.discrete.fit(chunks)

    def save_files(self, folder: Path) -> None:
        """Of the discrete head."""
        if self.discrete is not None:
            self.discrete.save_files(folder)

    def load_files(self, folder: Path) -> None:
        """Of the discrete head."""
        if self.discrete is not None:
            self.discrete.load_files(folder)

    def _velocity(
        self, noisy: torch.Tensor, *, time: torch.Tensor, state: torch.Tensor | None, memory: Memory
    ) -> torch.Tensor:
        """dx/dt (B,R,C,A) of noisy chunks (B,R,C,A) at times (B,R)."""
        tokens = self.embed_action(noisy)
        if self.embed_state is not None and state is not None:
            own = self.embed_state(state.float())[:, None, None].expand(-1, tokens.shape[1], -1, -1)
            tokens = torch.cat([own, tokens], dim=2)
        output: torch.Tensor = self.decode(self.expert(tokens, time=time, memory=memory)[:, :, -self.chunk :])
        return output


def _discrete_head(config: Mapping[str, Any], *, sizes: Sizes, chunk: int) -> FastHead | TokensHead:
    options = {"chunk": chunk, **config}
    kinds: dict[str, type[FastHead | TokensHead]] = {FastHead.name: FastHead, TokensHead.name: TokensHead}
    name = str(options.pop("name", None))
    if name not in kinds:
        raise unknown_name("discrete head of head flow", name, kinds)
    return build(kinds[name], options, sizes=sizes)


class _ScaledGradient(torch.autograd.Function):
    """The tensor itself forwards, its gradient times a factor backwards."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor, factor: float) -> torch.Tensor:
        context.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0] * context.factor, None


def _scale_gradient(layers: tuple[torch.Tensor, ...], factor: float) -> tuple[torch.Tensor, ...]:
    return tuple(_ScaledGradient.apply(layer, factor) for layer in layers)
