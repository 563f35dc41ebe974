"""One control step of a LIBERO problem, as robosuite's `step` does it to the last bit, with a third of the physics.

Robosuite computes all of MuJoCo's forward dynamics three times in every one of a control step's 25 substeps: before the
controller, again when the controller reads the arm's state, and within `mj_step`. What the controller reads (positions,
velocities, Jacobians, the mass matrix) is there after MuJoCo's first half of a step, and the second half goes on from
it: `mj_step1`, the controller, `mj_step2`.
"""

from __future__ import annotations

from typing import Any

import mujoco

from vst_vla.vla.contracts import Array


class _Computed:
    """Robosuite's MjSim for a controller, where everything that it reads has been computed already."""

    def __init__(self, sim: Any) -> None:
        self._sim = sim

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sim, name)

    def forward(self) -> None:
        """Nothing left to compute."""


def control_step(problem: Any, *, action: Array) -> dict[str, Array]:
    """Executes one action (7,) and returns robosuite's observation, without images.

    Args:
        problem: hf-libero's problem object (a robosuite environment without a viewer).
        action: what the arm's controller and the gripper are told.
    """
    model, data = problem.sim.model._model, problem.sim.data._data
    for robot in problem.robots:
        robot.controller.sim = _Computed(problem.sim)
    for substep in range(int(problem.control_timestep / problem.model_timestep)):
        mujoco.mj_step1(model, data)
        problem._pre_action(action, policy_step=substep == 0)
        mujoco.mj_step2(model, data)
        problem._update_observables()
    for robot in problem.robots:
        robot.controller.sim = problem.sim
    problem.timestep += 1
    problem.cur_time += problem.control_timestep
    problem._post_action(action)
    observation: dict[str, Array] = problem._get_observations()
    return observation
