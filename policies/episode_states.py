"""Episodes played by the scripted expert as plain simulator states, for whoever wants moments of them.

Letters: T control steps.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress

import numpy as np

from vst_vla.envs.perturb.axis import CannotVary
from vst_vla.envs.perturb.perturbation import Perturbation, perturb
from vst_vla.envs.simulator import Simulator
from vst_vla.envs.suites import SETTLE_STEPS, init_states
from vst_vla.policies.demo_episode import disturb
from vst_vla.policies.expert.expert import Expert
from vst_vla.vla.contracts import STILL_ACTION, Array

MOST_SETTLING = 4 * SETTLE_STEPS
"""Control steps after which an episode begins, whatever still rolls."""


def expert_states(simulator: Simulator, *, init_state: int, rng: np.random.Generator, vary: bool = True) -> Array:
    """The flat MuJoCo states (T, 1 + nq + nv) before each control step of one episode, and at its end.

    It begins when everything lies still: some of LIBERO's initial states drop objects from a height, for longer than an
    evaluation waits. With `vary` its objects are put elsewhere first: a task's own films are all alike, and what they
    show could be learnt by the names of its objects. The expert moves with the noise of its demonstrations; an episode
    ends at success or at the task's horizon.
    """
    simulator.reset(state=init_states(simulator.task)[init_state])
    for step in range(MOST_SETTLING):
        if step >= SETTLE_STEPS and simulator.at_rest():
            break
        simulator.step(np.array(STILL_ACTION))
    with ExitStack() as undo:
        if vary:
            with suppress(CannotVary):
                elsewhere = Perturbation(axes=("layout",), seed=(int(rng.integers(2**32)),))
                perturb(simulator, elsewhere, undo=undo)
        expert = Expert(simulator)
        states = [simulator.get_state()]
        while len(states) <= simulator.task.horizon and not simulator.success():
            simulator.step(disturb(expert.act(simulator), scale=expert.noise_scale, rng=rng))
            states.append(simulator.get_state())
    return np.stack(states)
