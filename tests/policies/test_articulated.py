"""Drawers, doors, knobs and plates: what the skills read from the scenes, and whole tasks under noise, not drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.suites import get_task, num_tasks
from vst_vla.policies.demo_episode import disturb
from vst_vla.policies.expert.articulation import handle_of, is_ajar, joint_names, turned, wanted_joint, wanted_range
from vst_vla.policies.expert.clearance import Pose, grip_rotation, hand_boxes, overlap
from vst_vla.policies.expert.expert import Expert
from vst_vla.policies.expert.geometry import Box, box_of, region_center
from vst_vla.policies.expert.skills.pull import Phase, Pull
from vst_vla.policies.expert.skills.push_shut import PushShut, contents_of
from vst_vla.policies.expert.skills.slide import is_flat
from vst_vla.policies.expert.skills.widen import Widen

TOP, MIDDLE = "wooden_cabinet_1_top_region", "wooden_cabinet_1_middle_region"
BOTTOM = "white_cabinet_1_bottom_region"
JOINT = "wooden_cabinet_1_middle_level"
pytestmark = pytest.mark.sim


@contextmanager
def made(suite: str, task: str) -> Iterator[LiberoEnv]:
    task_id = next(i for i in range(num_tasks(suite)) if task in get_task(suite, task_id=i).name)
    env = LiberoEnv(suite, task_id=task_id, images=False)
    try:
        yield env
    finally:
        env.close()


@pytest.fixture(autouse=True)
def _needs_assets(has_full_assets: bool) -> None:
    if not has_full_assets:
        pytest.skip("needs LIBERO's assets")


@pytest.fixture(scope="module")
def kitchen(has_full_assets: bool) -> Iterator[LiberoEnv]:
    if not has_full_assets:
        pytest.skip("needs LIBERO's assets")
    with made("libero_goal", "open_the_middle_drawer") as env:
        env.reset(options={"init_state": 0})
        yield env


def run(env: LiberoEnv, init_state: int) -> tuple[bool, int]:
    env.reset(options={"init_state": init_state})
    expert, rng, steps, success, truncated = Expert(env.simulator), np.random.default_rng(init_state), 0, False, False
    while not (success or truncated):
        action = disturb(expert.act(env.simulator), scale=expert.noise_scale, rng=rng)
        _, _, success, truncated, _ = env.step(action)
        steps += 1
    return success, steps


def test_turned_agrees_with_scipy() -> None:
    from scipy.spatial.transform import Rotation

    axis = np.array([1.0, -2.0, 0.5]) / np.linalg.norm([1.0, -2.0, 0.5])
    np.testing.assert_allclose(turned(axis, 0.7), Rotation.from_rotvec(0.7 * axis).as_matrix(), atol=1e-12)


def test_boxes_overlap_only_where_they_meet() -> None:
    still = Box(center=np.zeros(3), rotation=np.eye(3), half=np.array([0.1, 0.1, 0.1]))
    corner = turned(np.array([0.0, 0.0, 1.0]), np.pi / 4)
    for gap, meets in ((0.10 + 0.1414 + 0.001, False), (0.10 + 0.1414 - 0.001, True)):
        other = Box(center=np.array([gap, 0.0, 0.0]), rotation=corner, half=np.array([0.1, 0.1, 0.1]))
        assert overlap(still, other) is meets


def test_a_grip_is_a_rotation_near_the_start_pose() -> None:
    down = np.array([0.0, 0.0, -1.0])
    first, second = (grip_rotation(reach=down, closing=np.array([0.0, sign, 0.0])) for sign in (1.0, -1.0))
    assert np.linalg.det(first) == pytest.approx(1.0)
    np.testing.assert_allclose(first[:, 2], down, atol=1e-12)
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_joints_and_ranges_are_liberos(kitchen: LiberoEnv) -> None:
    simulator = kitchen.simulator
    assert joint_names(simulator, MIDDLE) == ["wooden_cabinet_1_middle_level"]
    assert joint_names(simulator, "plate_1") == []
    assert wanted_range(simulator, MIDDLE, predicate="open") == (-0.16, -0.14)
    assert wanted_range(simulator, "flat_stove_1", predicate="turnon") == (0.5, 2.1)
    opening, closing = (wanted_joint(simulator, MIDDLE, predicate=predicate) for predicate in ("open", "close"))
    assert not opening.hinge
    np.testing.assert_allclose(opening.axis, [0, 1, 0], atol=1e-9)  # this cabinet's drawers come out along y
    assert opening.rest == pytest.approx(0.16, abs=0.002)
    assert closing.value == pytest.approx(0.0, abs=0.002)
    knob = wanted_joint(simulator, "flat_stove_1", predicate="turnon")
    assert knob.hinge
    carried = knob.carried(knob.anchor + 0.03 * np.eye(3)[0], np.pi / 2)
    np.testing.assert_allclose(carried, knob.anchor + 0.03 * np.eye(3)[1], atol=1e-9)


def test_a_handle_is_the_bar_before_its_drawer(kitchen: LiberoEnv) -> None:
    simulator = kitchen.simulator
    top, middle = (
        handle_of(simulator, wanted_joint(simulator, region, predicate="open"), outwards=1.0)
        for region in (TOP, MIDDLE)
    )
    assert sorted(middle.half)[2] == pytest.approx(0.0445, abs=0.001)
    assert top.center[2] - middle.center[2] == pytest.approx(0.0735, abs=0.001)
    front = simulator.sim.data.get_site_xpos(MIDDLE)[1]
    assert 0.1 < middle.center[1] - front < 0.13


def test_the_palm_is_behind_the_fingertips() -> None:
    palm, fingers = hand_boxes(Pose(position=np.zeros(3), rotation=np.diag([1.0, -1.0, -1.0])))
    assert palm.bottom == pytest.approx(0.026, abs=1e-3)
    assert fingers.bottom < 0 < fingers.top < palm.top


def test_a_plate_is_flat_and_a_bowl_is_not(kitchen: LiberoEnv) -> None:
    assert is_flat(box_of(kitchen.simulator, "plate_1"))
    assert not is_flat(box_of(kitchen.simulator, "akita_black_bowl_1"))
    assert not is_flat(box_of(kitchen.simulator, "cream_cheese_1"))


def test_the_hand_takes_the_handle_again_when_the_drawer_jumps_away(kitchen: LiberoEnv) -> None:
    kitchen.reset(options={"init_state": 1})
    simulator, skill, jumped, success = kitchen.simulator, Pull(target=MIDDLE), False, False
    for _ in range(250):
        pulling = (
            skill.phase is Phase.PULL and simulator.sim.data.get_joint_qpos("wooden_cabinet_1_middle_level") < -0.06
        )
        if pulling and not jumped:
            simulator.sim.data.set_joint_qpos("wooden_cabinet_1_middle_level", 0.0)
            jumped = True
        _, _, success, _, _ = kitchen.step(skill.act(simulator))
        if success:
            break
    assert jumped
    assert success
    assert skill.attempts == 2


@pytest.fixture(scope="module")
def drawer(has_full_assets: bool) -> Iterator[LiberoEnv]:
    """A cabinet whose bottom drawer is open, though not to its stop, below the handles of the others."""
    if not has_full_assets:
        pytest.skip("needs LIBERO's assets")
    with made("libero_10", "put_the_black_bowl_in_the_bottom_drawer") as env:
        yield env


def test_a_drawer_is_pushed_out_to_its_stop_from_inside(drawer: LiberoEnv) -> None:
    drawer.reset(options={"init_state": 0})
    simulator, skill = drawer.simulator, Widen(target=BOTTOM)
    assert is_ajar(simulator, BOTTOM)
    while is_ajar(simulator, BOTTOM) or skill.busy:
        _, _, _, truncated, info = drawer.step(skill.act(simulator))
        assert not truncated
    assert skill.attempts == 1
    assert info["num_steps"] <= 70
    assert simulator.holds(("open", BOTTOM))


def test_a_drawer_is_shut_with_what_lies_in_it(drawer: LiberoEnv) -> None:
    drawer.reset(options={"init_state": 1})
    simulator, bowl = drawer.simulator, "akita_black_bowl_1"
    joint = simulator.problem.get_object(bowl).joints[0]
    pose = simulator.sim.data.get_joint_qpos(joint).copy()
    pose[:3] = region_center(simulator, BOTTOM) - (0.0, 0.0, 0.026)
    simulator.sim.data.set_joint_qpos(joint, pose)
    simulator.sim.forward()
    assert simulator.problem.obj_body_id[bowl] in contents_of(simulator, BOTTOM)
    assert not contents_of(simulator, "white_cabinet_1_middle_region")
    skill, success = PushShut(target=BOTTOM), False
    while not success:
        _, _, success, truncated, info = drawer.step(skill.act(simulator))
        assert not truncated
    assert info["num_steps"] <= 140


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task", "most"),
    [
        ("libero_goal", "open_the_middle_drawer", 120),
        ("libero_goal", "open_the_top_drawer_and_put_the_bowl_inside", 230),
        ("libero_goal", "turn_on_the_stove", 110),
        ("libero_goal", "push_the_plate", 180),
        ("libero_10", "put_the_black_bowl_in_the_bottom_drawer", 300),
        ("libero_90", "KITCHEN_SCENE4_close_the_bottom_drawer_of_the_cabinet", 90),
        ("libero_90", "KITCHEN_SCENE6_close_the_microwave", 110),
    ],
)
def test_whole_tasks_succeed_under_the_noise_of_demonstrations(suite: str, task: str, most: int) -> None:
    with made(suite, task) as env:
        for init_state in (2, 5):
            success, steps = run(env, init_state)
            assert success
            assert steps <= most
