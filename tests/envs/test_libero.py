"""LiberoEnv on the real simulator: Gymnasium's contract, determinism, pictures, success, horizon, bad input."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vst_vla.envs.libero import LiberoEnv, axis_angle
from vst_vla.envs.suites import get_task, init_states
from vst_vla.vla.contracts import IMAGE_KEY, STATE_KEY, STILL_ACTION, WRIST_IMAGE_KEY, Array

pytestmark = pytest.mark.sim
SIZE = 64
ACTIONS = np.random.default_rng(7).uniform(-1, 1, (12, 7))
STILL = np.array(STILL_ACTION)
ABOVE_FLOOR = np.array([0, 0, 0.05])


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    env = LiberoEnv("libero_object", task_id=0, image_size=SIZE)
    yield env
    env.close()


def trace(env: LiberoEnv, *, init_state: int = 3) -> str:
    """A digest of everything that ACTIONS lead to: physics, state and pictures, to the bit."""
    digest = hashlib.sha256()
    observation, _ = env.reset(seed=5, options={"init_state": init_state})
    for action in [None, *ACTIONS]:
        if action is not None:
            observation = env.step(action)[0]
        for value in (env.simulator.get_state(), *(observation[key] for key in sorted(observation))):
            digest.update(value.tobytes())
    return digest.hexdigest()


def place(env: LiberoEnv, position: Array) -> None:
    """Puts the alphabet soup at `position` (3,) m."""
    joint = "alphabet_soup_1_joint0"
    pose = env.simulator.sim.data.get_joint_qpos(joint).copy()
    pose[:3] = position
    env.simulator.sim.data.set_joint_qpos(joint, pose)
    env.simulator.sim.forward()


def soup(env: LiberoEnv) -> Array:
    return np.array(env.simulator.sim.data.get_joint_qpos("alphabet_soup_1_joint0")[:3])


def centre(picture: Array, background: Array) -> Array:
    """Mean (row, column) of the pixels in which two pictures differ."""
    changed = np.abs(picture.astype(int) - background).sum(axis=-1) > 60
    assert changed.any()
    return np.argwhere(changed).mean(axis=0)


def test_passes_gymnasiums_checker(env: LiberoEnv) -> None:
    check_env(env, skip_render_check=True)


def test_same_seed_and_state_same_trajectory_to_the_bit(env: LiberoEnv) -> None:
    first = trace(env)
    assert trace(env, init_state=4) != first
    env.reset(seed=99)
    assert trace(env) == first


def test_a_fresh_process_gives_the_same_trajectory(env: LiberoEnv) -> None:
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('again', {__file__!r})\n"
        "again = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(again)\n"
        f"env = again.LiberoEnv('libero_object', task_id=0, image_size={SIZE})\n"
        "print(again.trace(env))\n"
        "env.close()\n"
        "assert 'torch' not in sys.modules\n"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert fresh.stdout.split()[-1] == trace(env)


def test_a_chunk_is_its_single_steps(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 1})
    for action in ACTIONS[:8]:
        single = env.step(action)
    state = env.simulator.get_state()
    env.reset(options={"init_state": 1})
    chunk = env.step_chunk(ACTIONS[:8])
    assert np.array_equal(env.simulator.get_state(), state)
    assert single[1:] == chunk[1:]
    for key in single[0]:
        assert np.array_equal(single[0][key], chunk[0][key])


def test_agent_view_is_upright_and_in_liberos_mirrored_view(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 0})
    start = soup(env)
    pictures = {}
    shifts = {"gone": (0, 0, -5), "here": (0, 0, 0.05), "above": (0, 0, 0.2), "left": (0, 0.15, 0.05)}
    for name, shift in shifts.items():
        place(env, start + shift)
        pictures[name] = env.simulator.render("agentview", size=SIZE)
    here = centre(pictures["here"], pictures["gone"])
    assert centre(pictures["above"], pictures["gone"])[0] < here[0] - 3, "higher must be nearer to the first row"
    assert centre(pictures["left"], pictures["gone"])[1] < here[1] - 3, "+y must be nearer to the first column"
    physical = env.simulator.render("agentview", size=SIZE, mirror=False)
    assert np.array_equal(physical[:, ::-1], pictures["left"])


def test_wrist_view_has_the_fingers_at_the_bottom(env: LiberoEnv) -> None:
    observation, _ = env.reset(options={"init_state": 0})
    opened = observation[WRIST_IMAGE_KEY]
    env.simulator.sim.data.qpos[7:9] = 0.0  # the two finger joints
    env.simulator.sim.forward()
    closed = env.simulator.render("robot0_eye_in_hand", size=SIZE)
    assert centre(opened, closed)[0] > SIZE * 0.6


def test_observation_is_the_contracts(env: LiberoEnv) -> None:
    observation, info = env.reset(options={"init_state": 2})
    assert info["init_state"] == 2
    assert info["task"] == "pick up the alphabet soup and place it in the basket"
    assert observation[IMAGE_KEY].std() > 10
    hand = env.simulator.sim.data.site_xpos[env.simulator.sim.model.site_name2id("gripper0_grip_site")]
    assert np.allclose(observation[STATE_KEY][:3], hand, atol=1e-3)
    assert observation[STATE_KEY][6] > 0.03 > -0.03 > observation[STATE_KEY][7], "the gripper starts open"


def test_axis_angle_keeps_the_sign_of_the_quaternion() -> None:
    quat = np.array([0.6, 0.0, 0.0, -0.8])
    assert np.allclose(axis_angle(quat), [2 * np.arccos(-0.8), 0, 0])
    assert np.allclose(axis_angle(-quat), [-2 * np.arccos(0.8), 0, 0])
    assert np.array_equal(axis_angle(np.array([0.0, 0, 0, 1])), np.zeros(3))


def test_success_terminates_and_latches(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 3})
    start, basket = soup(env), env.simulator.sim.data.get_joint_qpos("basket_1_joint0")[:3]
    assert not env.step(STILL)[4]["success"]
    place(env, basket + ABOVE_FLOOR)
    _, reward, terminated, truncated, info = env.step(STILL)
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    place(env, start)
    _, reward, terminated, _, info = env.step(STILL)
    assert not env.simulator.success()
    assert (reward, terminated, info["success"]) == (0.0, True, True)
    assert env.reset(options={"init_state": 3})[1]["success"] is False


def test_a_chunk_stops_at_success(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 3})
    place(env, env.simulator.sim.data.get_joint_qpos("basket_1_joint0")[:3] + ABOVE_FLOOR)
    assert env.step_chunk(np.tile(STILL, (8, 1)))[4]["num_steps"] == 1


def test_two_scenes_in_one_process_draw_their_own(env: LiberoEnv) -> None:
    before = env.reset(options={"init_state": 0})[0][IMAGE_KEY]
    other = LiberoEnv("libero_object", task_id=1, image_size=SIZE)
    assert not np.array_equal(other.reset(options={"init_state": 0})[0][IMAGE_KEY], before)
    assert np.array_equal(env.render(), before)
    other.close()
    assert np.array_equal(env.render(), before)


def test_the_horizon_truncates() -> None:
    env = LiberoEnv("libero_object", task_id=0, images=False)
    env.reset(options={"init_state": 0})
    observation, reward, terminated, truncated, info = env.step_chunk(np.tile(STILL, (400, 1)))
    env.close()
    assert set(observation) == {STATE_KEY}
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["num_steps"] == 280


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suite": "libero_objects"}, "unknown suite 'libero_objects': did you mean 'libero_object'"),
        ({"suite": "libero_object", "task_id": 10}, "task_id 10 is out of range: libero_object has tasks 0 to 9"),
        ({"suite": "libero_object", "task_id": -1}, "task_id -1 is out of range"),
        ({"suite": "libero_object", "image_size": 8}, "image_size 8 is too small"),
    ],
)
def test_bad_tasks_are_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        LiberoEnv(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_state": 50}, "init_state 50 is out of range: libero_object task 0 has 0 to 49"),
        ({"init_state": -1}, "init_state -1 is out of range"),
        ({"initial_state": 1}, "unknown reset option 'initial_state': expected init_state, env_seed or perturb"),
    ],
)
def test_bad_resets_are_one_line(env: LiberoEnv, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.full(7, np.nan), "NaN or infinity in 'dx'"),
        (np.array([0, 0, 0, 0, 0, 0, 1.5]), "'gripper' is 1.5, expected"),
        (np.zeros(6), r"shape \(1, 6\), expected \(..., 7\)"),
    ],
)
def test_bad_actions_are_one_line_and_move_nothing(env: LiberoEnv, action: Array, message: str) -> None:
    env.reset(options={"init_state": 0})
    before = env.simulator.get_state()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert np.array_equal(env.simulator.get_state(), before)


def test_every_task_has_its_twenty_evaluation_states() -> None:
    for task_id in range(10):
        assert len(init_states(get_task("libero_object", task_id=task_id))) >= 20
