"""The robot axis: the arm begins elsewhere, with every joint turned by up to `MAX_TURN` and the hand centimetres away.

A pose in which the arm touches anything, itself included, is drawn again, each time nearer to the official one.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from vst_vla.envs.perturb.axis import CannotVary
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

MAX_TURN = 0.2  # rad, of every joint at full strength
POSES = 20
LOWEST = 0.05  # m that the hand may come down at most


def vary_robot(simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack) -> dict[str, Any]:
    """An `Axis`. The description holds every joint's turn in rad and the way of the hand in m, in the world.

    Raises:
        CannotVary: when the arm is free in none of `POSES` poses.
    """
    robot, before = simulator.problem.robots[0], _joints(simulator)
    hand, touching = _hand(simulator), _touching(simulator)
    for tries in range(POSES):
        turn = strength * (1 - tries / POSES) * rng.uniform(-MAX_TURN, MAX_TURN, len(before))
        _put(simulator, before + turn)
        way = _hand(simulator) - hand
        if _touching(simulator) <= touching and way[2] > -LOWEST:
            robot.controller.update_initial_joints(before + turn)  # where its redundant joint is drawn to; and no goal
            return {"turn_rad": turn.tolist(), "hand_m": way.tolist(), "tries": tries + 1}
    _put(simulator, before)
    raise CannotVary(f"the arm has no room in '{simulator.task.language}': lower the strength or leave out robot")


def _joints(simulator: Simulator) -> Array:
    """The arm's joint positions in rad."""
    return np.array(simulator.sim.data.qpos[simulator.problem.robots[0]._ref_joint_pos_indexes])


def _put(simulator: Simulator, joints: Array) -> None:
    """Stands the arm at rest in a pose. The next reset to a state takes it back."""
    robot, data = simulator.problem.robots[0], simulator.sim.data
    data.qpos[robot._ref_joint_pos_indexes] = joints
    data.qvel[robot._ref_joint_vel_indexes] = 0
    simulator.sim.forward()


def _hand(simulator: Simulator) -> Array:
    """The point between the fingertips (3,) in m."""
    return np.array(simulator.sim.data.site_xpos[simulator.problem.robots[0].eef_site_id])


def _touching(simulator: Simulator) -> set[tuple[int, int]]:
    """Pairs of geoms in contact of which one belongs to the arm or its hand."""
    model, data = simulator.sim.model._model, simulator.sim.data._data
    arm = model.body("robot0_base").rootid[0]
    return {
        (int(contact.geom1), int(contact.geom2))
        for contact in data.contact[: data.ncon]
        if arm in model.body_rootid[model.geom_bodyid[[contact.geom1, contact.geom2]]]
    }
