"""Variety for a scene: objects put elsewhere on their surface, the arm bent to another reach, physics settled.

Everything is drawn from one generator after a full reset, so the same state and generator give the same scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from vst_vla.envs.geometry import box_corners, multiply_quaternions, rotation_about
from vst_vla.envs.objects import SceneObject, robot_geoms
from vst_vla.envs.simulator import Simulator
from vst_vla.vla.contracts import Array

SETTLE_STEPS, MOST_SETTLING = 150, 1500
"""Physics steps of 2 ms with the arm held still, at least and, while something still moves, at most."""

_KEEP_SHARE = 0.25  # scenes, and objects of the other scenes, that stay where LIBERO put them
_MARGIN = 0.05  # m around the objects' own area into which they are moved
_DROP = 0.003  # m above the surface at which an object is let go
_TRIES = 30
_REACH_HEIGHT = (0.06, 0.35)  # m above the surface
_MAX_YAW, _MAX_TILT = 0.8, 0.2  # rad


class Variation:
    """Rearranges one simulator's scene.

    Args:
        simulator: the scene.
        objects: its objects, as `find_objects` lists them.
    """

    def __init__(self, simulator: Simulator, *, objects: Sequence[SceneObject]) -> None:
        self._simulator = simulator
        self._model: Any = simulator.sim.model._model
        self._data: Any = simulator.sim.data._data
        self._movable = [o for o in objects if self._model.body_dofnum[o.root] == 6]
        robot = simulator.problem.robots[0]
        self._arm_qpos = np.array(robot._ref_joint_pos_indexes)
        self._arm_dofs = np.array(robot._ref_joint_vel_indexes)
        self._fingers = np.array(robot._ref_gripper_joint_pos_indexes)
        self._limits = self._model.jnt_range[robot._ref_joint_indexes]
        self._site = self._model.site(f"{robot.gripper.naming_prefix}grip_site").id
        self._robot_geoms = robot_geoms(simulator)

    def apply(self, state: Array, *, rng: np.random.Generator) -> None:
        """Puts the scene into `state` (1 + nq + nv,), settles it, moves objects and bends the arm."""
        self._simulator.reset(seed=0, state=state)
        self._data.qacc_warmstart[:] = 0
        self._settle()
        surface, area = self._surface()
        if rng.random() >= _KEEP_SHARE:
            self._scatter(surface, area, rng)
        self._bend(surface, area, rng)
        mujoco.mj_forward(self._model, self._data)

    def _settle(self) -> None:
        held = np.concatenate([self._arm_qpos, self._fingers])
        qpos, dofs = self._data.qpos[held].copy(), self._robot_dofs()
        for step in range(MOST_SETTLING):
            if step >= SETTLE_STEPS and self._simulator.at_rest():
                break
            mujoco.mj_step(self._model, self._data)
            self._data.qpos[held] = qpos
            self._data.qvel[dofs] = 0
        mujoco.mj_forward(self._model, self._data)

    def _robot_dofs(self) -> Array:
        robot = self._simulator.problem.robots[0]
        return np.concatenate([self._arm_dofs, np.array(robot._ref_gripper_joint_vel_indexes)])

    def _bottom(self, item: SceneObject) -> float:
        pose, half_extents = item.pose(self._data)
        return float(box_corners(pose, half_extents=half_extents)[:, 2].min())

    def _surface(self) -> tuple[float, Array]:
        """Height of the work surface in m, and the area (2,2) low and high x, y in which objects lie."""
        places = np.array([self._data.xpos[o.root][:2] for o in self._movable])
        height = min((self._bottom(o) for o in self._movable), default=0.0)
        return height, np.array([places.min(axis=0) - _MARGIN, places.max(axis=0) + _MARGIN])

    def _scatter(self, surface: float, area: Array, rng: np.random.Generator) -> None:
        """Moves the objects that stand on the surface; goes back when one fell or left the area."""
        before = self._data.qpos.copy(), self._data.qvel.copy()
        standing = [o for o in self._movable if self._bottom(o) < surface + 0.02]
        for index in rng.permutation(len(standing)):
            if rng.random() >= _KEEP_SHARE:
                self._place(standing[int(index)], area, rng)
        self._settle()
        places = np.array([self._data.xpos[o.root] for o in standing])
        inside = (places[:, :2] > area[0] - _MARGIN).all() and (places[:, :2] < area[1] + _MARGIN).all()
        if not inside or min(self._bottom(o) for o in standing) < surface - 0.02:
            self._data.qpos[:], self._data.qvel[:] = before
            mujoco.mj_forward(self._model, self._data)

    def _place(self, item: SceneObject, area: Array, rng: np.random.Generator) -> None:
        """One object at a random place and yaw where it touches nothing; where it was when there is no such place."""
        start = int(self._model.jnt_qposadr[self._model.body_jntadr[item.root]])
        address = slice(start, start + 7)
        before = self._data.qpos[address].copy()
        for _ in range(_TRIES):
            yaw = rng.uniform(-np.pi, np.pi)
            turn = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
            place = np.append(rng.uniform(area[0], area[1]), before[2] + _DROP)
            self._data.qpos[address] = np.concatenate([place, multiply_quaternions(turn, before[3:])])
            mujoco.mj_forward(self._model, self._data)
            if not self._touches(item.geoms):
                return
        self._data.qpos[address] = before
        mujoco.mj_forward(self._model, self._data)

    def _touches(self, geoms: Array) -> bool:
        """Whether one of the geoms (G,) bool penetrates anything outside them."""
        pairs = self._data.contact.geom
        return bool(((geoms[pairs[:, 0]] != geoms[pairs[:, 1]]) & (self._data.contact.dist < 0)).any())

    def _bend(self, surface: float, area: Array, rng: np.random.Generator) -> None:
        """Reaches for a random point over the area, gripper down; the arm stays if every try touches something."""
        arm = self._data.qpos[self._arm_qpos].copy()
        down = self._data.site_xmat[self._site].reshape(3, 3).copy()
        directions = np.sign(self._model.jnt_range[self._finger_joints()].sum(axis=1))
        self._data.qpos[self._fingers] = rng.uniform(0, 0.04) * directions
        for _ in range(_TRIES):
            target = np.append(rng.uniform(area[0], area[1]), surface + rng.uniform(*_REACH_HEIGHT))
            axis = rng.normal(size=3) * np.array([1, 1, 0])
            tilt = rotation_about(axis / np.linalg.norm(axis), angle=rng.uniform(-_MAX_TILT, _MAX_TILT))
            yaw = rotation_about(np.array([0.0, 0.0, 1.0]), angle=rng.uniform(-_MAX_YAW, _MAX_YAW))
            self._reach(arm, target, yaw @ tilt @ down)
            if not self._touches(self._robot_geoms):
                return
        self._data.qpos[self._arm_qpos] = arm

    def _finger_joints(self) -> list[int]:
        return [int(np.flatnonzero(self._model.jnt_qposadr == address)[0]) for address in self._fingers]

    def _reach(self, start: Array, position: Array, rotation: Array) -> None:
        """Damped least squares from the joint angles `start` towards a pose of the grip site; limits are kept."""
        angles = start.copy()
        jacobian = np.zeros((6, self._model.nv))
        for _ in range(25):
            self._data.qpos[self._arm_qpos] = angles
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_jacSite(self._model, self._data, jacobian[:3], jacobian[3:], self._site)
            error = self._error(position, rotation)
            step = jacobian[:, self._arm_dofs]
            angles += step.T @ np.linalg.solve(step @ step.T + 1e-3 * np.eye(6), error)
            angles = np.clip(angles, self._limits[:, 0], self._limits[:, 1])
        self._data.qpos[self._arm_qpos] = angles
        mujoco.mj_forward(self._model, self._data)

    def _error(self, position: Array, rotation: Array) -> Array:
        """(6,) what is missing in m and, as a rotation vector in the world, in rad."""
        current = self._data.site_xmat[self._site].reshape(3, 3)
        quaternion, turn = np.zeros(4), np.zeros(3)
        mujoco.mju_mat2Quat(quaternion, (rotation @ current.T).ravel())
        mujoco.mju_quat2Vel(turn, quaternion, 1.0)
        return np.concatenate([position - self._data.site_xpos[self._site], turn])
