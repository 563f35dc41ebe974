"""An exponential moving average of the weights over the steps (Polyak averaging), kept in the optimizer's state.

There it is saved, resumed and sharded as the optimizer's own moments are. While the run is young the average forgets
faster, by (1 + t) / (10 + t) after t steps, as TensorFlow's ExponentialMovingAverage has it: a short run's average is
not one of random weights.
"""

from __future__ import annotations

from typing import Any

import torch

AVERAGE, STEPS = "average", "averaged_steps"


def keep_average(optimizer: torch.optim.Optimizer, *, decay: float) -> None:
    """Lets the optimizer average its parameters after every step from now on.

    Args:
        optimizer: before its first step.
        decay: share of the average that a step keeps, in [0, 1).
    """

    @torch.no_grad()
    def update(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            group[STEPS] = steps = group.get(STEPS, 0) + 1
            kept = min(decay, (1 + steps) / (10 + steps))
            for parameter in group["params"]:
                state = optimizer.state.get(parameter, {})
                if AVERAGE in state:
                    state[AVERAGE].lerp_(parameter, 1 - kept)
                elif state:  # a parameter without moments was never moved
                    state[AVERAGE] = parameter.detach().clone()

    optimizer.register_step_post_hook(update)


@torch.no_grad()
def take_average(optimizer: torch.optim.Optimizer) -> None:
    """Puts the averages in the place of the parameters."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if AVERAGE in optimizer.state.get(parameter, {}):
                parameter.copy_(optimizer.state[parameter][AVERAGE])
