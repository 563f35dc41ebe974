"""A LIBERO task as a robot of LeRobot's, and LeRobot's robot client driving it for one episode.

    python tests/policies/lerobot_arm.py OUT --robot.type=libero_arm --server_address=127.0.0.1:8080 …

runs `python -m lerobot.async_inference.robot_client` unchanged, after registering the robot as a plug-in would. When
the episode is over, OUT holds what happened, and the client is interrupted as a user would do it.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.robots import Robot, RobotConfig

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import CAMERAS
from vst_vla.vla.contracts import LIBERO_ACTION, LIBERO_STATE, STATE_KEY


@RobotConfig.register_subclass("libero_arm")
@dataclass(kw_only=True)
class LiberoArmConfig(RobotConfig):
    suite: str = "libero_object"
    task_id: int = 0
    init_state: int = 0
    size: int = 64
    steps: int = 60
    report: str = ""


class LiberoArm(Robot):
    """The arm, its two cameras under names of its own, and its account of the episode."""

    config_class = LiberoArmConfig
    name = "libero_arm"

    def __init__(self, config: LiberoArmConfig) -> None:
        super().__init__(config)
        self._config = config
        self._env: LiberoEnv | None = None
        self._state = np.zeros(LIBERO_STATE.dim, np.float32)
        self._actions: list[list[float]] = []
        self._looks: list[float] = []

    @property
    def observation_features(self) -> dict[str, Any]:
        size = self._config.size
        return {**dict.fromkeys(LIBERO_STATE.names, float), "front": (size, size, 3), "wrist": (size, size, 3)}

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(LIBERO_ACTION.names, float)

    @property
    def is_connected(self) -> bool:
        return self._env is not None

    @property
    def is_calibrated(self) -> bool:
        return True

    def calibrate(self) -> None:
        """Nothing to calibrate."""

    def configure(self) -> None:
        """Nothing to configure."""

    def connect(self, calibrate: bool = True) -> None:
        self._env = LiberoEnv(self._config.suite, task_id=self._config.task_id, images=False)
        observation, _ = self._env.reset(options={"init_state": self._config.init_state})
        self._state = observation[STATE_KEY]

    def get_observation(self) -> dict[str, Any]:
        assert self._env is not None
        self._looks.append(time.monotonic())
        draw = self._env.simulator.render
        pictures = [draw(camera, size=self._config.size) for camera in CAMERAS]
        numbers = dict(zip(LIBERO_STATE.names, map(float, self._state), strict=True))
        return {**numbers, **dict(zip(("front", "wrist"), pictures, strict=True))}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        assert self._env is not None
        command = np.array([action[name] for name in LIBERO_ACTION.names], np.float32)
        observation, _, success, cut, _ = self._env.step(command)
        self._state = observation[STATE_KEY]
        self._actions.append(command.tolist())
        if success or cut or len(self._actions) == self._config.steps:
            self._finish(success)
        return action

    def disconnect(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def _finish(self, success: bool) -> None:
        content = {"steps": len(self._actions), "success": bool(success), "looks": len(self._looks)}
        Path(self._config.report).write_text(json.dumps(content | {"actions": self._actions}))
        signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    sys.modules["lerobot_arm"] = sys.modules["__main__"]
    LiberoArmConfig.__module__ = LiberoArm.__module__ = "lerobot_arm"
    runpy.run_module("lerobot.async_inference.robot_client", run_name="__main__")
