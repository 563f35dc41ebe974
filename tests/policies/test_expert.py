"""The scripted expert: goals, geometry, control, and whole episodes in LIBERO without drawing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.policies.expert.expert import Expert, ExpertPolicy
from vst_vla.policies.expert.geometry import Box, Hand, box_of, hand_of, region_center, region_owner
from vst_vla.policies.expert.goal import Goal, parse_goals
from vst_vla.policies.expert.grasp import FINGER_REACH, choose_grasp, grasp_heading, grasp_point, palm_hits
from vst_vla.policies.expert.motion import CLOSE, OPEN, pointing_down, rotation_vector, servo
from vst_vla.policies.expert.skills.pick_place import CLOSE_ENOUGH, Phase, PickPlace
from vst_vla.vla.contracts import LIBERO_ACTION, Array, Policy


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    made = LiberoEnv("libero_object", task_id=0, images=False)
    yield made
    made.close()


def box(*, half: tuple[float, float, float], yaw: float = 0.0, height: float = 0.1) -> Box:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    return Box(center=np.array([0.1, -0.2, height]), rotation=rotation, half=np.array(half))


def run(env: LiberoEnv, init_state: int, *, noise: float = 0.0) -> tuple[bool, int, Expert, list[Array]]:
    env.reset(options={"init_state": init_state})
    expert, rng, actions = Expert(env.simulator), np.random.default_rng(init_state), []
    success = truncated = False
    while not (success or truncated):
        action = expert.act(env.simulator)
        actions.append(action)
        executed = action.copy()
        executed[:3] += rng.normal(size=3) * noise * expert.noise_scale
        _, _, success, truncated, _ = env.step(LIBERO_ACTION.clip(executed))
    return success, len(actions), expert, actions


def test_goals_keep_order_and_arguments() -> None:
    goals = parse_goals([["in", "milk_1", "basket_1_contain_region"], ["In", "a", "b"]], predicates=["in"])
    assert goals == [
        Goal(predicate="in", arguments=("milk_1", "basket_1_contain_region")),
        Goal(predicate="in", arguments=("a", "b")),
    ]


def test_a_goal_without_a_skill_is_named() -> None:
    with pytest.raises(ValueError, match=r"no skill for turnon\(flat_stove_1\).*choices: in"):
        parse_goals([["turnon", "flat_stove_1"]], predicates=["in"])


@pytest.mark.parametrize("heading", [0.0, 1.0, np.pi / 2, 3.0])
def test_pointing_down_is_a_rotation_that_closes_along_the_heading(heading: float) -> None:
    rotation = pointing_down(heading)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation[:, 0], [np.cos(heading), np.sin(heading), 0], atol=1e-12)
    np.testing.assert_allclose(rotation[:, 2], [0, 0, -1], atol=1e-12)


@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (0.3, -0.2, 0.9), (0.0, 0.0, 3.0), (1e-7, 0.0, 0.0)])
def test_rotation_vector_inverts_scipys_rotations(vector: tuple[float, ...]) -> None:
    from scipy.spatial.transform import Rotation

    np.testing.assert_allclose(rotation_vector(Rotation.from_rotvec(vector).as_matrix()), vector, atol=1e-9)


def test_servo_is_proportional_near_and_saturated_far() -> None:
    hand = Hand(position=np.zeros(3), rotation=pointing_down(0.5), opening=0.08)
    far = servo(hand, position=np.array([1.0, -1.0, 0.0]), heading=0.5, grip=OPEN)
    near = servo(hand, position=np.array([0.01, 0.0, 0.0]), heading=0.5, grip=CLOSE)
    nearer = servo(hand, position=np.array([0.005, 0.0, 0.0]), heading=0.5, grip=CLOSE)
    np.testing.assert_allclose(far, [np.sqrt(0.5), -np.sqrt(0.5), 0, 0, 0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(near[:3], 2 * nearer[:3], atol=1e-6)
    assert 0 < nearer[0] < near[0] < 1
    assert near[6] == 1
    assert far.dtype == np.float32


def test_the_fingers_close_across_the_narrow_side() -> None:
    assert grasp_heading(box(half=(0.02, 0.04, 0.1), yaw=0.3)) == pytest.approx(0.3)
    assert grasp_heading(box(half=(0.04, 0.02, 0.1), yaw=0.3)) == pytest.approx(0.3 + np.pi / 2)


def test_of_a_square_the_side_that_needs_less_turning_is_taken() -> None:
    for yaw in np.linspace(-3, 3, 25):
        assert abs(grasp_heading(box(half=(0.03, 0.03, 0.1), yaw=yaw)) - np.pi / 2) <= np.pi / 4 + 1e-9


def test_the_grasp_is_as_deep_as_the_palm_allows_and_never_in_the_floor() -> None:
    low, tall, thin = (
        box(half=(0.03, 0.03, 0.03)),
        box(half=(0.03, 0.03, 0.10)),
        box(half=(0.03, 0.03, 0.004)),
    )
    assert grasp_point(low)[2] == pytest.approx(0.1)
    assert grasp_point(tall)[2] == pytest.approx(tall.top - FINGER_REACH)
    assert grasp_point(thin)[2] == pytest.approx(thin.bottom + 0.01)


def test_the_grasp_moves_aside_only_when_the_palm_would_hit_a_neighbour() -> None:
    item = box(half=(0.02, 0.04, 0.01), height=0.01)  # held across x, so the palm lies along x
    low, tall = item_beside(item, height=0.01), item_beside(item, height=0.08)
    assert choose_grasp(item, [low]).position == pytest.approx(grasp_point(item))
    aside = choose_grasp(item, [tall])
    shift = aside.position - grasp_point(item)
    assert shift[[0, 2]] == pytest.approx(0, abs=1e-9)
    assert -0.03 <= shift[1] < -0.005  # away from it, still on the item
    assert not palm_hits(aside, tall)
    surrounded = [tall, item_beside(item, height=0.08, side=-1)]
    assert choose_grasp(item, surrounded).position == pytest.approx(grasp_point(item))


def item_beside(item: Box, *, height: float, side: int = 1) -> Box:
    center = item.center + np.array([0.10, side * 0.055, height - item.center[2]])
    return Box(center=center, rotation=np.eye(3), half=np.array([0.03, 0.03, height]))


@pytest.mark.sim
def test_boxes_and_hand_agree_with_the_scene(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 0})
    soup, hand = box_of(env.simulator, "alphabet_soup_1"), hand_of(env.simulator)
    np.testing.assert_allclose(2 * soup.half, [0.065, 0.08, 0.065], atol=0.015)  # a can, upright along its body's y
    basket = region_owner(env.simulator, "basket_1_contain_region")
    assert basket == "basket_1"
    inside = region_center(env.simulator, "basket_1_contain_region") - box_of(env.simulator, basket).center
    assert np.abs(inside[:2]).max() < 0.02
    assert hand.opening == pytest.approx(0.078, abs=0.005)
    assert hand.rotation[2, 2] < -0.98


@pytest.mark.sim
@pytest.mark.parametrize(("init_state", "noise"), [(0, 0.0), (1, 1.0), (2, 1.0)])
def test_it_solves_a_task_quickly_with_legal_actions(env: LiberoEnv, init_state: int, noise: float) -> None:
    success, steps, expert, actions = run(env, init_state, noise=noise)
    assert success
    assert steps <= 130
    assert expert.attempts == 1
    LIBERO_ACTION.check(np.stack(actions))
    flips = np.count_nonzero(np.diff(np.stack(actions)[:, 6]))
    assert flips == 2  # closes once, opens once


@pytest.mark.sim
def test_the_expert_tries_again_when_the_object_slips(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 3})
    expert, moved, success, truncated = Expert(env.simulator), False, False, False
    skill = expert._skills[0][1]
    assert isinstance(skill, PickPlace)
    while not (success or truncated):
        if skill.phase is Phase.CARRY and not moved:
            joint = env.simulator.problem.get_object("alphabet_soup_1").joints[0]
            pose = env.simulator.sim.data.get_joint_qpos(joint).copy()
            pose[:2] += [0.02, 0.12]
            env.simulator.sim.data.set_joint_qpos(joint, pose)
            moved = True
        _, _, success, truncated, _ = env.step(expert.act(env.simulator))
    assert moved
    assert success
    assert expert.attempts == 2


@pytest.mark.sim
def test_the_policy_runs_the_expert_behind_the_protocol(env: LiberoEnv) -> None:
    policy = ExpertPolicy(env)
    assert isinstance(policy, Policy)
    rewards = []
    for init_state in (4, 5):
        observation, _ = env.reset(options={"init_state": init_state})
        policy.reset()
        done = False
        while not done:
            [answer] = policy.infer_batch([observation])
            assert answer["actions"].shape == (1, 7)
            observation, reward, terminated, truncated, _ = env.step_chunk(answer["actions"])
            done = terminated or truncated
        rewards.append(reward)
    assert rewards == [1.0, 1.0]


@pytest.mark.sim
def test_the_fingers_close_only_at_the_object(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 6})
    expert = Expert(env.simulator)
    for _ in range(60):
        before, item = hand_of(env.simulator), box_of(env.simulator, "alphabet_soup_1")
        action = expert.act(env.simulator)
        if action[6] > 0:
            assert np.linalg.norm(grasp_point(item) - before.position) < CLOSE_ENOUGH
            return
        env.step(action)
    pytest.fail("the fingers never closed")


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize("task_id", range(10))
def test_it_solves_every_task(task_id: int) -> None:
    made = LiberoEnv("libero_object", task_id=task_id, images=False)
    try:
        assert all(run(made, init_state, noise=1.0)[0] for init_state in (0, 7, 13))
    finally:
        made.close()
