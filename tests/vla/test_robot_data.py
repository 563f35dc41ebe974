"""LeRobot datasets as samples: equal to LeRobotDataset's own, padded at an episode's end, refused when unfit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vst_vla.vla.contracts import ACTION_IS_PAD_KEY, ACTION_KEY, IMAGE_KEYS, STATE_KEY, TASK_KEY
from vst_vla.vla.data.robot import RobotDataset


def test_same_samples_as_lerobot(robot_folder: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    ours = RobotDataset(robot_folder, chunk=8)
    theirs = LeRobotDataset("a/b", root=robot_folder, delta_timestamps={ACTION_KEY: [i / 20 for i in range(8)]})
    assert len(ours) == len(theirs) == 21
    assert ours.num_episodes == 2
    for index in range(len(ours)):
        a, b = ours[index], theirs[index]
        np.testing.assert_array_equal(a[ACTION_KEY], b[ACTION_KEY].numpy())
        np.testing.assert_array_equal(a[STATE_KEY], b[STATE_KEY].numpy())
        np.testing.assert_array_equal(a[ACTION_IS_PAD_KEY], b[f"{ACTION_KEY}_is_pad"].numpy())
        assert a[TASK_KEY] == b[TASK_KEY]
        for key in IMAGE_KEYS:
            np.testing.assert_array_equal(a[key], np.round(b[key].numpy().transpose(1, 2, 0) * 255).astype(np.uint8))


def test_without_a_cache_the_samples_are_the_same(robot_folder: Path) -> None:
    cached, plain = RobotDataset(robot_folder, chunk=4), RobotDataset(robot_folder, chunk=4, cache_gib=0)
    for _ in range(2):
        np.testing.assert_array_equal(cached[5][IMAGE_KEYS[0]], plain[5][IMAGE_KEYS[0]])
    assert not plain._cache


def test_another_action_size_is_refused(learning_data: ModuleType, tmp_path: Path) -> None:
    folder = learning_data.write_robot_data(tmp_path / "six", action_dim=6)
    with pytest.raises(ValueError, match="action has 6 numbers, expected 7"):
        RobotDataset(folder, chunk=8)


def test_another_frame_rate_is_refused(learning_data: ModuleType, tmp_path: Path) -> None:
    folder = learning_data.write_robot_data(tmp_path / "slow", fps=10)
    with pytest.raises(ValueError, match="10 frames a second, expected 20"):
        RobotDataset(folder, chunk=8)


def edited(folder: Path, tmp_path: Path, name: str, change: dict) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    content = json.loads((copy / "meta" / name).read_text()) if (copy / "meta" / name).is_file() else {}
    (copy / "meta" / name).write_text(json.dumps(content | change))
    return copy


def test_another_layout_is_refused(robot_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"LeRobot format v2.0, expected v3.0"):
        RobotDataset(edited(robot_folder, tmp_path, "info.json", {"codebase_version": "v2.0"}), chunk=8)
    with pytest.raises(ValueError, match=r"is no LeRobot v3.0 dataset: meta/info.json is missing"):
        RobotDataset(tmp_path, chunk=8)


def test_missing_camera_names_what_was_found(robot_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"no 'observation.images.top', found action, .*observation.images.image2"):
        RobotDataset(robot_folder, chunk=8, image_keys=("observation.images.top",))


def test_another_gripper_convention_is_refused(robot_folder: Path, tmp_path: Path) -> None:
    change = {"action_spec": {"gripper": "0 close, 1 open"}}
    with pytest.raises(ValueError, match=r"gripper is '0 close, 1 open', expected '-1 open, \+1 close'"):
        RobotDataset(edited(robot_folder, tmp_path, "vst_vla.json", change), chunk=8)
