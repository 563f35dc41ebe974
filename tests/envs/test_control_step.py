"""The lean control step leads to the same states and observations as robosuite's own, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from vst_vla.envs.control_step import control_step
from vst_vla.envs.simulator import Simulator
from vst_vla.envs.suites import get_task, init_states
from vst_vla.vla.contracts import Array

pytestmark = pytest.mark.sim
TASKS = [("libero_object", 0), ("libero_goal", 3), ("libero_10", 3)]
"""A can, and two with drawers, joints of their own and contacts between things that are not the arm."""


def prepared(suite: str, task_id: int) -> Simulator:
    task = get_task(suite, task_id=task_id)
    simulator = Simulator(task)
    simulator.reset(seed=0, state=init_states(task)[0])
    return simulator


def actions(count: int) -> Array:
    """Wild ones that go down into things: a direction for ten steps, and noise."""
    rng = np.random.default_rng(3)
    headings = rng.uniform(-1, 1, (count // 10, 7)) * [1, 1, 1, 0.2, 0.2, 0.2, 1] - [0, 0, 0.6, 0, 0, 0, 0]
    return np.clip(np.repeat(headings, 10, axis=0) + rng.normal(0, 0.2, (count, 7)), -1, 1)


@pytest.mark.parametrize(("suite", "task_id"), TASKS)
def test_every_step_equals_robosuites_own(suite, task_id, has_full_assets):
    if suite != "libero_object" and not has_full_assets:
        pytest.skip(f"{suite} needs LIBERO's own assets")
    ours, theirs = prepared(suite, task_id), prepared(suite, task_id)
    touched = 0
    for action in actions(60):
        seen = control_step(ours.problem, action=action)
        expected, _, _, _ = theirs.problem.step(action)
        np.testing.assert_array_equal(ours.get_state(), theirs.get_state())
        assert list(seen) == list(expected)
        for name in seen:
            np.testing.assert_array_equal(seen[name], expected[name], err_msg=name)
        assert ours.success() == theirs.success()
        assert (ours.problem.timestep, ours.problem.cur_time) == (theirs.problem.timestep, theirs.problem.cur_time)
        touched += bool(theirs.sim.data.ncon > 8)
    assert touched


def test_the_controllers_own_simulation_is_put_back():
    simulator = prepared("libero_object", 0)
    simulator.step(np.zeros(7))
    assert all(robot.controller.sim is simulator.sim for robot in simulator.problem.robots)
    simulator.reset(seed=0)  # which computes forward for real
    simulator.step(np.zeros(7))
