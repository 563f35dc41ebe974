"""Goals in an order in which they can be reached, with what they need first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.policies.expert.expert import Expert
from vst_vla.policies.expert.goal import Goal, parse_goals
from vst_vla.policies.expert.planner import order, plan_steps


def goal(predicate: str, *arguments: str) -> Goal:
    return Goal(predicate=predicate, arguments=arguments)


def test_a_drawer_is_filled_before_it_is_closed_and_knobs_come_first() -> None:
    close, put, turn = goal("close", "drawer"), goal("in", "bowl", "drawer"), goal("turnon", "stove")
    assert order([close, put, turn]) == [turn, put, close]
    assert order([close, goal("open", "door"), put])[0] == goal("open", "door")


def test_what_carries_something_is_placed_before_it() -> None:
    cheese, bowl, plate = goal("on", "cheese", "bowl"), goal("in", "bowl", "drawer"), goal("on", "plate", "table")
    assert order([cheese, bowl, plate]) == [bowl, plate, cheese]


def test_goals_that_do_not_depend_on_each_other_keep_their_order() -> None:
    first, second = goal("in", "soup", "basket"), goal("in", "cheese", "basket")
    assert order([first, second]) == [first, second]
    assert order([second, first]) == [second, first]


def test_a_predicate_without_a_skill_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no skill for up\(milk_1\)"):
        parse_goals([["Up", "milk_1"]], predicates=["in", "on"])


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    made = LiberoEnv("libero_object", task_id=0, images=False)
    made.reset(options={"init_state": 20})
    yield made
    made.close()


def test_an_open_container_needs_no_lid(env: LiberoEnv) -> None:
    goals = parse_goals(env.simulator.goal, predicates=["in"])
    assert [step.goal for step in plan_steps(env.simulator, goals)] == goals
    assert plan_steps(env.simulator, goals)[0].is_pending(env.simulator)


def test_the_expert_stays_with_a_skill_until_the_hand_is_free(env: LiberoEnv) -> None:
    expert = Expert(env.simulator)
    for _ in range(40):
        env.step(expert.act(env.simulator))
    present = expert._present
    assert present.busy
    expert.act(env.simulator)
    assert expert._present is present
