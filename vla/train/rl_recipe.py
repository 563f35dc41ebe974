"""How a reinforcement run is trained, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from vst_vla.vla.contracts import check_names


@dataclass(frozen=True, kw_only=True)
class RLRecipe:
    """Settings of one GRPO run; `configs/rl` holds named ones.

    The defaults are VST's (https://github.com/Yangr116/VST).

    Attributes:
        name: of the recipe.
        steps: optimiser steps.
        prompts: questions of one step and process; each is answered `group` times.
        group: replies to one question, compared with one another.
        rows_at_once: replies of one forward pass; it divides prompts * group.
        updates: optimiser steps on the replies of one generation.
        learning_rate: constant after a linear rise over `warmup`, a share of the steps.
        temperature, top_p: of the sampling.
        clip_low, clip_high: how far below and above 1 a token's probability ratio counts (DAPO, arXiv 2503.14476).
        kl: weight of the divergence from the starting weights; 0 keeps no copy of them. VST's other setting is 0.01.
        max_new_tokens: longest reply.
        reward_factors: on the terms of `rewards.TERMS`; 1 where not given.
        direct_levels: levels whose questions are answered without reasoning, unless they bring a thought.
        modes: tasks (`vla.tasks.TASKS`), of which each question must name one; none takes all questions.
        fov_width, fov_deg: the camera that pictures with 3-D boxes are brought to (`fov.FovTarget`).
        max_pixels: budget of every other picture.
        bf16: bfloat16 arithmetic (GPUs).
        gradient_checkpointing: less memory for about a third more time.
        save_every, log_every: steps between checkpoints and log lines.
    """

    name: str
    steps: int
    prompts: int = 128
    group: int = 5
    rows_at_once: int = 5
    updates: int = 2
    learning_rate: float = 1e-6
    warmup: float = 0.0
    weight_decay: float = 1e-2
    max_grad_norm: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl: float = 0.0
    max_new_tokens: int = 2048
    reward_factors: Mapping[str, float] = field(default_factory=dict)
    direct_levels: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    fov_width: int = 960
    fov_deg: float = 69.16
    max_pixels: int = 3_211_264
    bf16: bool = False
    gradient_checkpointing: bool = False
    save_every: int = 20
    log_every: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "rows_at_once", "updates", "max_new_tokens", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"rl.{name} is {getattr(self, name)}, expected at least 1")
        if not isinstance(self.gradient_checkpointing, bool):
            raise ValueError(f"rl.gradient_checkpointing is {self.gradient_checkpointing}, expected true or false")
        if self.group < 2:
            raise ValueError(f"rl.group is {self.group}, expected at least 2: replies are compared within their group")
        if self.prompts * self.group % self.rows_at_once:
            raise ValueError(
                f"rl.rows_at_once {self.rows_at_once} does not divide prompts * group = {self.prompts * self.group}: "
                f"try {self.group}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RLRecipe:
        """From a yaml's values; raises ValueError for a key that is none of the settings."""
        check_names("rl setting", values, choices=[entry.name for entry in fields(cls)])
        lists = {name: tuple(values.get(name, ())) for name in ("direct_levels", "modes")}
        return cls(**{**values, **lists})
