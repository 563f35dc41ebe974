"""A copy of a simulated moment in which objects are moved and left to fall without touching the scene itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from vst_vla.envs.geometry import multiply_quaternions
from vst_vla.envs.perturb.solids import Solid
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

SLOW = 0.03  # m/s or rad/s under which an object counts as resting


class Scratch:
    """The physics of one scene, with the arm held still.

    Args:
        simulator: the scene; what it is at the moment is copied.
        movable: its objects with a free joint.
    """

    def __init__(self, simulator: Simulator, *, movable: Sequence[Solid]) -> None:
        self.model: Any = simulator.sim.model._model
        self.data: Any = copy.copy(simulator.sim.data._data)
        robot = simulator.problem.robots[0]
        self._held = np.array([*robot._ref_joint_pos_indexes, *robot._ref_gripper_joint_pos_indexes])
        self._held_dofs = np.array([*robot._ref_joint_vel_indexes, *robot._ref_gripper_joint_vel_indexes])
        self._dofs = np.concatenate([np.arange(6) + self.model.body_dofadr[o.root] for o in movable])
        self._start = simulator.get_state()

    def settle(self, seconds: float) -> bool:
        """Lets things fall for a while; says whether every object rests."""
        held = self.data.qpos[self._held].copy()
        for _ in range(round(seconds / self.model.opt.timestep)):
            mujoco.mj_step(self.model, self.data)
            self.data.qpos[self._held] = held
            self.data.qvel[self._held_dofs] = 0
        mujoco.mj_forward(self.model, self.data)
        return bool(np.abs(self.data.qvel[self._dofs]).max() < SLOW)

    def positions(self) -> Array:
        """Joint positions (nq,), to come back to with `go_back`."""
        return np.array(self.data.qpos)

    def go_back(self, positions: Array) -> None:
        """Puts joint positions (nq,), everything at rest."""
        self.data.qpos[:] = positions
        self.data.qvel[:] = 0
        self.data.qacc_warmstart[:] = 0
        mujoco.mj_forward(self.model, self.data)

    def carry(self, items: Sequence[Solid], *, to: Array, yaw: float) -> None:
        """Turns objects as one about the first one's vertical by `yaw` rad and shifts them so that it stands at `to`.

        Args:
            items: the objects; the first one carries the others.
            to: where the first one's origin goes, (3,) m.
            yaw: rad.
        """
        turn = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        plane = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
        origin = self.data.qpos[self._address(items[0])][:3].copy()
        for item in items:
            address = self._address(item)
            pose = self.data.qpos[address].copy()
            self.data.qpos[address] = np.concatenate(
                [to + plane @ (pose[:3] - origin), multiply_quaternions(turn, pose[3:])]
            )
        mujoco.mj_forward(self.model, self.data)

    def pose(self, item: Solid) -> tuple[Array, Array]:
        """An object's origin (3,) in m in the world, and the world's upward direction (3,) in its own frame."""
        return self.data.xpos[item.root].copy(), self.data.xmat[item.root].reshape(3, 3)[2].copy()

    def depth_of_contact(self, items: Sequence[Solid]) -> float:
        """How deep in m the objects, as one, penetrate anything else; 0 when they do not."""
        pairs, gaps = np.asarray(self.data.contact.geom), np.asarray(self.data.contact.dist)
        own = np.any([item.geoms for item in items], axis=0)
        return -float(gaps[own[pairs[:, 0]] != own[pairs[:, 1]]].min(initial=0.0))

    def state(self) -> Array:
        """The scene's flat state (1 + nq + nv,): things as they are here, at rest; the arm as it was."""
        state, nq = self._start.copy(), self.model.nq
        arm, arm_speed = state[1 + self._held], state[1 + nq + self._held_dofs]
        state[1 : 1 + nq], state[1 + nq :] = self.data.qpos, 0.0
        state[1 + self._held], state[1 + nq + self._held_dofs] = arm, arm_speed
        return state

    def _address(self, item: Solid) -> slice:
        start = int(self.model.jnt_qposadr[self.model.body_jntadr[item.root]])
        return slice(start, start + 7)
