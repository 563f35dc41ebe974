"""Picking and placing in LIBERO's scenes, without drawing: whole goals under the noise of demonstrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.policies.demo_episode import disturb
from vst_vla.policies.expert.geometry import hand_of, origin_of
from vst_vla.policies.expert.skills.pick_place import CLOSE_ENOUGH, Phase, PickPlace


@contextmanager
def made(suite: str, task_id: int) -> Iterator[LiberoEnv]:
    env = LiberoEnv(suite, task_id=task_id, images=False)
    try:
        yield env
    finally:
        env.close()


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    with made("libero_object", 0) as env:
        yield env


def skills_of(env: LiberoEnv) -> list[tuple[list[str], PickPlace]]:
    goals = [goal for goal in env.simulator.goal if goal[0] in ("in", "on")]
    return [(goal, PickPlace(item=goal[1], target=goal[2], relation=goal[0])) for goal in goals]


def run(env: LiberoEnv, init_state: int, *, noise: float = 1.0, horizon: int = 400) -> tuple[bool, int]:
    """Whether every rigid goal came to hold with the hand away from the last one, or the task ended; and steps."""
    env.reset(options={"init_state": init_state})
    skills, rng, done = skills_of(env), np.random.default_rng(init_state), False
    present, steps = skills[0][1], 0
    while not done and steps < horizon:
        if not present.busy:
            open_goals = [skill for goal, skill in skills if not env.simulator.holds(goal)]
            if not open_goals:
                return True, steps
            present = open_goals[0]
        action = disturb(present.act(env.simulator), scale=noise * present.noise_scale, rng=rng)
        _, _, done, _, _ = env.step(action)
        steps += 1
    return done, steps


@pytest.mark.sim
def test_the_fingers_close_only_at_the_object(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 6})
    [(_, skill)] = skills_of(env)
    while skill.phase is Phase.REACH:
        before = hand_of(env.simulator).position
        env.step(skill.act(env.simulator))
    assert skill._plan is not None
    assert np.linalg.norm(skill._plan.way.position - before) < CLOSE_ENOUGH
    assert np.linalg.norm(before - origin_of(env.simulator, skill.item)) < 0.06
    assert skill.busy


@pytest.mark.sim
def test_it_tries_again_when_the_object_slips(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 3})
    [(_, skill)] = skills_of(env)
    moved = done = False
    while not done:
        if skill.phase is Phase.CARRY and not moved:
            joint = env.simulator.problem.get_object(skill.item).joints[0]
            pose = env.simulator.sim.data.get_joint_qpos(joint).copy()
            pose[:2] += [0.02, 0.12]
            env.simulator.sim.data.set_joint_qpos(joint, pose)
            moved = True
        _, _, done, truncated, _ = env.step(skill.act(env.simulator))
        assert not truncated
    assert skill.attempts == 2


@pytest.mark.sim
def test_it_follows_a_target_that_moves(env: LiberoEnv) -> None:
    env.reset(options={"init_state": 5})
    [(_, skill)] = skills_of(env)
    moved = done = False
    while not done:
        if skill.phase is Phase.CARRY and not moved:
            joint = env.simulator.problem.get_object("basket_1").joints[0]
            pose = env.simulator.sim.data.get_joint_qpos(joint).copy()
            pose[0] += 0.05
            env.simulator.sim.data.set_joint_qpos(joint, pose)
            moved = True
        _, _, done, truncated, _ = env.step(skill.act(env.simulator))
        assert not truncated
    assert moved
    assert skill.attempts == 1


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task_id", "most_steps"),
    [
        ("libero_spatial", 4, 187),  # a bowl out of a drawer
        ("libero_goal", 6, 180),  # into a bowl
        ("libero_goal", 9, 180),  # a bottle on a rack
        ("libero_10", 4, 405),  # two mugs on two plates
        ("libero_10", 5, 405),  # a book into a compartment
        ("libero_10", 8, 405),  # two pots on one stove
        ("libero_10", 9, 405),  # a mug into a microwave
    ],
)
def test_it_solves_one_task_of_each_kind(suite: str, task_id: int, most_steps: int, has_full_assets: bool) -> None:
    if not has_full_assets:
        pytest.skip(f"{suite} needs LIBERO's assets")
    with made(suite, task_id) as env:
        success, steps = run(env, 1)
        assert success
        assert steps <= most_steps
