"""One LIBERO scene in MuJoCo: build it, put it in a state, step it, draw it. No Gymnasium here; no torch.

Built straight on hf-libero's problem classes, so physics, controller (OSC_POSE at 20 Hz) and success predicates are
LIBERO's own. Nothing is drawn unless `render` is called. Letters: H/W pixels, A action.

Images come in LIBERO's orientation: the field (openpi, OpenVLA, LeRobot) turns MuJoCo's bottom-up picture by 180
degrees, which makes it upright **and mirrors it left to right**. Every published LIBERO dataset and policy uses this
view, so it is ours too; `render(..., mirror=False)` gives the physical, unmirrored one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import numpy as np

from vst_vla.envs.assets import Assets, find_assets, prepare_libero
from vst_vla.envs.control_step import control_step
from vst_vla.envs.culling import without_unseen
from vst_vla.envs.suites import CONTROL_HZ, Task
from vst_vla.vla.contracts import Array

CAMERAS = ("agentview", "robot0_eye_in_hand")
"""MuJoCo names of the two policy cameras, in the order of `contracts.IMAGE_KEYS`."""
REST_SPEED = 0.02
"""m/s below which a thing counts as lying still."""


class Simulator:
    """A LIBERO task's scene.

    Args:
        task: which task to build.
        assets: where meshes and textures are; found by `find_assets` when not given.
        render_device: GPU number for EGL, -1 for the default one.

    Attributes:
        problem: hf-libero's problem object (a robosuite environment), for its ground truth.
        language: the instruction; the task's own unless `set_goal` asked for something else.
        sensor: what a camera makes of a picture (H, W, 3) uint8 that a policy sees; None for a perfect one.
    """

    def __init__(self, task: Task, *, assets: Assets | None = None, render_device: int = -1) -> None:
        self.task = task
        self.assets = assets or find_assets(task.suite)
        self._render_device = render_device
        prepare_libero(self.assets)
        self.problem: Any = _build_problem(task)
        self.language = task.language
        self.sensor: Callable[[Array], Array] | None = None
        self._reset_problem(0)

    @property
    def sim(self) -> Any:
        """Robosuite's MjSim: `sim.model` and `sim.data`."""
        return self.problem.sim

    def _reset_problem(self, seed: int) -> dict[str, Array]:
        """Robosuite places objects and fixtures with numpy's global generator; it is lent a seed and given back."""
        before = np.random.get_state()
        np.random.seed(seed)
        for robot in self.problem.robots:  # the gripper's command is a ramp that a soft reset leaves where it was
            robot.gripper.current_action = np.zeros(robot.gripper.dof)
        try:
            return self.problem.reset()
        finally:
            np.random.set_state(before)

    def reset(self, *, seed: int = 0, state: Array | None = None) -> dict[str, Array]:
        """Resets the scene, to the flat MuJoCo `state` (1 + nq + nv,) when given; returns robosuite's observation."""
        observation = self._reset_problem(seed)
        return observation if state is None else self.set_state(state)

    def set_state(self, state: Array) -> dict[str, Array]:
        """Puts joint positions and velocities as stored by LIBERO's initial-state files."""
        expected = self.sim.get_state().flatten().shape
        if state.shape != expected:
            raise ValueError(f"state has shape {state.shape}, expected {expected} for {self.task.name}")
        self.sim.set_state_from_flattened(state)
        self.sim.forward()
        self.problem._check_success()
        self.problem._post_process()
        return self.observe()

    def observe(self) -> dict[str, Array]:
        """Robosuite's observation of the scene as it is now, without images."""
        self.problem._update_observables(force=True)
        return self.problem._get_observations()

    def get_state(self) -> Array:
        """The flat MuJoCo state (1 + nq + nv,)."""
        return np.asarray(self.sim.get_state().flatten())

    def step(self, action: Array) -> dict[str, Array]:
        """One control step (1/20 s) with a 7-D action; returns robosuite's observation, without images."""
        return control_step(self.problem, action=action)

    @property
    def goal(self) -> list[list[str]]:
        """The clauses of the BDDL goal, predicate first; success is their conjunction."""
        return [list(clause) for clause in self.problem.parsed_problem["goal_state"]]

    def set_goal(self, clauses: Sequence[Sequence[str]], *, language: str) -> None:
        """Asks for another goal of the same scene, in LIBERO's predicates, and says so in another sentence."""
        self.problem.parsed_problem["goal_state"] = [list(clause) for clause in clauses]
        self.language = language

    def holds(self, clause: Sequence[str]) -> bool:
        """Whether one clause, such as ("on", "akita_black_bowl_1", "plate_1"), is true now, as LIBERO judges it."""
        return bool(self.problem._eval_predicate(list(clause)))

    def at_rest(self) -> bool:
        """Whether no loose object moves faster than `REST_SPEED`."""
        model, data = self.sim.model._model, self.sim.data._data
        loose = model.jnt_dofadr[model.jnt_type == mujoco.mjtJoint.mjJNT_FREE]
        return bool((np.linalg.norm(data.qvel[loose[:, None] + np.arange(3)], axis=1) <= REST_SPEED).all())

    def success(self) -> bool:
        """Whether the BDDL goal holds now."""
        return bool(self.problem._check_success())

    def render(self, camera: str, *, size: int, mirror: bool = True) -> Array:
        """One camera's picture (size, size, 3) uint8, upright; `mirror` as in the module's note."""
        self._ensure_context()
        model, data = self.sim.model._model, self.sim.data._data
        with without_unseen(model, data, camera=self.sim.model.camera_name2id(camera)):
            raw = self.sim.render(size, size, camera_name=camera)
        return np.ascontiguousarray(raw[::-1, ::-1] if mirror else raw[::-1])

    def see(self, camera: str, *, size: int) -> Array:
        """The picture that a policy gets: `render`, through the `sensor`."""
        picture = self.render(camera, size=size)
        return picture if self.sensor is None else self.sensor(picture)

    def upload_texture(self, number: int) -> None:
        """Takes over a texture that was changed in the model; without pictures so far there is nothing to do."""
        if self.sim._render_context_offscreen is None:
            return
        import mujoco

        self._ensure_context()
        mujoco.mjr_uploadTexture(self.sim.model._model, self.sim._render_context_offscreen.con, number)

    def _ensure_context(self) -> None:
        """Creates the OpenGL context at the first picture: in the process and on the device that draws it.

        Later ones only make it current again: another scene of this process may have drawn in between.
        """
        if self.sim._render_context_offscreen is not None:
            self.sim._render_context_offscreen.gl_ctx.make_current()
            return
        import mujoco
        from robosuite.utils.binding_utils import MjRenderContextOffscreen

        model, data = self.sim.model._model, self.sim.data._data
        before = copy.copy(data)
        context = MjRenderContextOffscreen(self.sim, device_id=self._render_device)
        mujoco.mj_copyData(data, model, before)  # making a context moves bodies on; the first picture must not show it
        context.vopt.geomgroup[0] = 0  # collision geometry
        context.vopt.geomgroup[1] = 1  # visual geometry

    def close(self) -> None:
        """Frees the scene and its OpenGL context.

        The context is made current first: MuJoCo frees by number, in whatever context is current, and would otherwise
        take the textures of another scene.
        """
        if self.sim._render_context_offscreen is not None:
            self.sim._render_context_offscreen.gl_ctx.make_current()
        self.problem.close()


def _build_problem(task: Task) -> Any:
    """hf-libero's problem class for the task, set up as its OffScreenRenderEnv does, but drawing nothing by itself."""
    import libero.libero.envs.bddl_utils as bddl_utils
    import robosuite
    from libero.libero.envs import TASK_MAPPING

    info = bddl_utils.get_problem_info(str(task.bddl_file))
    return TASK_MAPPING[info["problem_name"]](
        str(task.bddl_file),
        robots=["Panda"],
        controller_configs=robosuite.load_controller_config(default_controller="OSC_POSE"),
        gripper_types="default",
        initialization_noise=None,
        use_camera_obs=False,
        has_renderer=False,
        has_offscreen_renderer=False,
        control_freq=CONTROL_HZ,
        horizon=1_000_000,
        ignore_done=True,
        hard_reset=False,
        camera_names=list(CAMERAS),
    )
