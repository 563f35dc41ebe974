"""The scripted expert: goals, geometry, control, and whole episodes in LIBERO without drawing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.policies.expert.expert import Expert, ExpertPolicy
from vst_vla.policies.expert.geometry import Hand, box_of, hand_of, region_center
from vst_vla.policies.expert.goal import Goal, parse_goals
from vst_vla.policies.expert.motion import CLOSE, OPEN, pointing_down, rotation_vector, steer
from vst_vla.vla.contracts import LIBERO_ACTION, Array, Policy


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    made = LiberoEnv("libero_object", task_id=0, images=False)
    yield made
    made.close()


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


def test_steering_is_proportional_near_and_saturated_far() -> None:
    hand = Hand(position=np.zeros(3), rotation=pointing_down(0.5), opening=0.08)
    far = steer(hand, position=np.array([1.0, -1.0, 0.0]), rotation=pointing_down(0.5), grip=OPEN)
    near = steer(hand, position=np.array([0.01, 0.0, 0.0]), rotation=pointing_down(0.5), grip=CLOSE)
    nearer = steer(hand, position=np.array([0.005, 0.0, 0.0]), rotation=pointing_down(0.5), grip=CLOSE)
    np.testing.assert_allclose(far, [np.sqrt(0.5), -np.sqrt(0.5), 0, 0, 0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(near[:3], 2 * nearer[:3], atol=1e-6)
    assert 0 < nearer[0] < near[0] < 1
    assert near[6] == 1
    assert far.dtype == np.float32


@pytest.mark.sim
def test_boxes_and_hand_agree_with_the_scene(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 0})
    soup, hand = box_of(env.simulator, "alphabet_soup_1"), hand_of(env.simulator)
    np.testing.assert_allclose(2 * soup.half, [0.065, 0.08, 0.065], atol=0.015)  # a can, upright along its body's y
    inside = region_center(env.simulator, "basket_1_contain_region") - box_of(env.simulator, "basket_1").center
    assert np.abs(inside[:2]).max() < 0.02
    assert hand.opening == pytest.approx(0.078, abs=0.005)
    assert hand.rotation[2, 2] < -0.98


@pytest.mark.sim
@pytest.mark.parametrize(("init_state", "noise"), [(0, 0.0), (1, 1.0), (2, 1.0)])
def test_it_solves_a_task_quickly_with_legal_actions(env: LiberoEnv, init_state: int, noise: float) -> None:
    success, steps, expert, actions = run(env, init_state, noise=noise)
    assert success
    assert steps <= 130
    assert expert.retries == 0
    LIBERO_ACTION.check(np.stack(actions))
    flips = np.count_nonzero(np.diff(np.stack(actions)[:, 6]))
    assert 1 <= flips <= 2  # closes once; opens once, unless the goal holds before


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
@pytest.mark.slow
@pytest.mark.parametrize("task_id", range(10))
def test_it_solves_every_task(task_id: int) -> None:
    made = LiberoEnv("libero_object", task_id=task_id, images=False)
    try:
        assert all(run(made, init_state, noise=1.0)[0] for init_state in (0, 7, 13))
    finally:
        made.close()
