"""LIBERO tasks as a Gymnasium environment."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from vst_vla.envs.assets import Assets
from vst_vla.envs.perturb.perturbation import perturb
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.envs.suites import SETTLE_STEPS, get_task, init_state, init_states
from vst_vla.vla.contracts import (
    IMAGE_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    STATE_KEY,
    STILL_ACTION,
    Array,
)


class LiberoEnv(gymnasium.Env[dict[str, Array], Array]):
    """One LIBERO task: a Panda arm on a table, in a kitchen, a study or on the floor, controlled at 20 Hz.

    ## Action space
    `Box(-1, 1, (7,), float32)`, relative end-effector control (OSC_POSE):

    | index | name | min | max | unit |
    |---|---|---|---|---|
    | 0-2 | dx, dy, dz | -1 | 1 | 0.05 m a step, robot base frame |
    | 3-5 | drx, dry, drz (axis-angle) | -1 | 1 | 0.5 rad a step |
    | 6 | gripper | -1 (open) | 1 (close) | sign decides the direction |

    ## Observation space
    `Dict`: `observation.images.image` and `observation.images.image2`, `Box(0, 255, (size, size, 3), uint8)`, the agent
    view and the wrist view, RGB, in LIBERO's orientation (see `envs/simulator.py`); `observation.state`,
    `Box(-inf, inf, (8,), float32)`: end effector x, y, z (m), axis-angle (rad), two finger positions (m).

    ## Reward
    1 at the step on which the task's goal is reached, else 0.

    ## Starting state
    `reset(options={"init_state": i})` starts from the task's official initial state i; without it, one is drawn with
    the environment's generator. `settle_steps` control steps without motion follow, so that objects rest (ten in
    LIBERO's own protocol). `options={"env_seed": n}` seeds the simulator's generator, which places what the state does
    not hold, with n instead of 0.
    `options={"perturb": Perturbation(...)}` then changes the settled scene (`envs/perturb`) for this episode only:
    `info["perturbation"]` says how, and `info["task"]` is the instruction that then holds.

    ## Episode end
    Terminates when the goal predicate holds; truncates after `max_steps` (the suite's horizon of 220, 280, 300 or 520
    control steps by default; the settle steps are not counted). `info["success"]` latches: once true it stays true
    until the next reset.

    ## Chunks
    `step_chunk(actions (C, 7))` executes up to C steps, stops at success or horizon, and draws once, at its end.

    Args:
        suite: libero_spatial, libero_object, libero_goal, libero_10 or libero_90.
        task_id: number of the task in its suite.
        image_size: height and width of both pictures in pixels.
        assets: resolved assets; looked for when not given.
        render_device: GPU number for the renderer, -1 for the default.
        images: draw the two pictures; without, observations hold `observation.state` only.
        max_steps: control steps before an episode is cut, None for the suite's horizon.
        settle_steps: control steps without motion after a reset.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        suite: str = "libero_object",
        *,
        task_id: int = 0,
        image_size: int = 256,
        assets: Assets | None = None,
        render_device: int = -1,
        images: bool = True,
        max_steps: int | None = None,
        settle_steps: int = SETTLE_STEPS,
        render_mode: str | None = "rgb_array",
    ) -> None:
        if image_size < 16:
            raise ValueError(f"image_size {image_size} is too small: give at least 16 pixels")
        self.task = get_task(suite, task_id=task_id)
        self.image_size = image_size
        self.max_steps = self.task.horizon if max_steps is None else max_steps
        self.settle_steps = settle_steps
        self.render_mode = render_mode
        self._assets = assets
        self._render_device = render_device
        self._simulator: Simulator | None = None
        self._num_steps = 0
        self._success = False
        self._undo = ExitStack()  # takes back the last episode's perturbation
        picture = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        pictures = dict.fromkeys(IMAGE_KEYS, picture) if images else {}
        state = spaces.Box(-np.inf, np.inf, (LIBERO_STATE.dim,), np.float32)
        self.observation_space = spaces.Dict({**pictures, STATE_KEY: state})
        self.action_space = spaces.Box(LIBERO_ACTION.low, LIBERO_ACTION.high, (LIBERO_ACTION.dim,), np.float32)

    @property
    def simulator(self) -> Simulator:
        """The scene, built at first use: in the process, and on the device, that steps it."""
        if self._simulator is None:
            self._simulator = Simulator(self.task, assets=self._assets, render_device=self._render_device)
        return self._simulator

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Starts an episode; `options={"init_state": i}` picks the official initial state, "perturb" changes it.

        Raises:
            ValueError: for an initial state out of range, an unknown option, or a scene that cannot be changed so.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        index, perturbation = options.pop("init_state", None), options.pop("perturb", None)
        env_seed = options.pop("env_seed", 0)
        if options:
            raise ValueError(f"unknown reset option '{next(iter(options))}': expected init_state, env_seed or perturb")
        if index is None:
            index = int(self.np_random.integers(len(init_states(self.task))))
        state = init_state(self.task, index=index)
        self._undo.close()
        raw = self.simulator.reset(seed=env_seed, state=state)
        for _ in range(self.settle_steps):
            raw = self.simulator.step(np.array(STILL_ACTION))
        self._num_steps, self._success = 0, False
        info: dict[str, Any] = {"init_state": index}
        if perturbation is not None:
            info["perturbation"] = perturb(self.simulator, perturbation, undo=self._undo)
            raw = self.simulator.observe()
        return self._observe(raw), self._info() | info

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """One control step. Raises ValueError for an action of another width, out of range, or with a NaN."""
        return self.step_chunk(np.asarray(action)[None])

    def step_chunk(self, actions: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Executes `actions` (C, 7) until done, then draws once. The reward is that of its last step."""
        actions = np.asarray(actions)
        LIBERO_ACTION.check(actions)
        before = self._success
        for action in actions:
            raw = self.simulator.step(action)
            self._num_steps += 1
            self._success = self._success or self.simulator.success()
            if self._success or self._num_steps >= self.max_steps:
                break
        truncated = self._num_steps >= self.max_steps and not self._success
        return self._observe(raw), float(self._success and not before), self._success, truncated, self._info()

    def render(self) -> Array:
        """The agent view (size, size, 3) uint8."""
        return self.simulator.render(CAMERAS[0], size=self.image_size)

    def close(self) -> None:
        """Frees the scene."""
        if self._simulator is not None:
            self._undo.close()
            self._simulator.close()
            self._simulator = None

    def _info(self) -> dict[str, Any]:
        return {"success": self._success, "num_steps": self._num_steps, "task": self.simulator.language}

    def _observe(self, raw: dict[str, Array]) -> dict[str, Array]:
        observation: dict[str, Array] = {}
        if IMAGE_KEY in self.observation_space.spaces:
            for key, camera in zip(IMAGE_KEYS, CAMERAS, strict=True):
                observation[key] = self.simulator.see(camera, size=self.image_size)
        return observation | {STATE_KEY: state_vector(raw)}


def state_vector(raw: dict[str, Array]) -> Array:
    """Robosuite's observation -> `observation.state` (8,) float32, in the order of `contracts.LIBERO_STATE`."""
    rotation = axis_angle(raw["robot0_eef_quat"])
    return np.concatenate([raw["robot0_eef_pos"], rotation, raw["robot0_gripper_qpos"]]).astype(np.float32)


def axis_angle(quat_xyzw: Array) -> Array:
    """Axis-angle (3,) in rad of an xyzw quaternion, **without** sign canonicalisation, as LIBERO's datasets have it.

    Making w positive first, as most libraries do, turns about half of the states into others and costs policies trained
    on LIBERO data up to 40 points.
    """
    w = float(np.clip(quat_xyzw[3], -1.0, 1.0))
    norm = np.sqrt(1.0 - w * w)
    if norm < 1e-8:
        return np.zeros(3)
    return np.asarray(quat_xyzw[:3]) * (2.0 * np.arccos(w) / norm)
