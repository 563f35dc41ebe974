"""Goals and the order of their steps, without a simulator and on LIBERO's own goals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.suites import get_task, num_tasks
from vst_vla.policies.expert.expert import Expert
from vst_vla.policies.expert.goal import Goal, parse_goals
from vst_vla.policies.expert.planner import lid_of, order, plan_steps, steps_to

PREDICATES = ("in", "on", "open", "close", "turnon", "turnoff")


def goals(*clauses: str) -> list[Goal]:
    return parse_goals([clause.split() for clause in clauses], predicates=PREDICATES)


def said(ordered: Sequence[Goal]) -> list[str]:
    return [" ".join((goal.predicate, *goal.arguments)) for goal in ordered]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["on pot stove", "turnon stove"], ["turnon stove", "on pot stove"]),
        (["in bowl drawer", "open drawer"], ["open drawer", "in bowl drawer"]),
        (["close lower", "open upper"], ["close lower", "open upper"]),
        (["open upper", "close lower"], ["close lower", "open upper"]),
        (["on bowl top", "close drawer"], ["close drawer", "on bowl top"]),
        (["on left right", "in right tray"], ["in right tray", "on left right"]),
        (["on cheese bowl", "on bowl plate", "on plate stove"], ["on plate stove", "on bowl plate", "on cheese bowl"]),
        (["in b basket", "in a basket"], ["in b basket", "in a basket"]),
        (["on a b", "on b a"], ["on a b", "on b a"]),
    ],
)
def test_goals_are_ordered_as_they_can_be_reached(given: list[str], expected: list[str]) -> None:
    assert said(order(goals(*given))) == expected


def test_a_drawer_is_opened_before_and_closed_after_what_goes_in() -> None:
    wanted = goals("close drawer", "in bowl drawer", "on mug plate")
    steps = steps_to(wanted, lids={wanted[1]: "drawer"})
    assert said([step.goal for step in steps]) == ["open drawer", "in bowl drawer", "on mug plate", "close drawer"]
    assert [step.serves for step in steps] == [wanted[1], None, None, None]
    steps = steps_to(wanted, lids={wanted[1]: "drawer"}, ajar={"drawer"})
    assert said([step.goal for step in steps[:3]]) == ["open drawer", "widen drawer", "in bowl drawer"]
    assert [step.serves for step in steps[:3]] == [wanted[1], wanted[1], None]


def test_a_clause_said_twice_counts_once_and_predicates_lose_their_case() -> None:
    assert said(goals("In a b", "in a b")) == ["in a b"]


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        (["opn drawer"], r"no skill for opn\(drawer\): did you mean 'open'"),
        (["widen drawer"], r"no skill for widen\(drawer\).*choices: in, on, open"),
        (["up mug"], r"no skill for up\(mug\).*choices: in, on, open"),
        (["open drawer", "close drawer"], r"open\(drawer\) and close\(drawer\) cannot both hold"),
        (["turnoff stove", "turnon stove"], "cannot both hold"),
        (["open drawer plate"], r"open\(drawer, plate\) is no goal: open takes 1 "),
        (["in bowl"], r"in\(bowl\) is no goal: in takes 2 "),
        (["on bowl bowl"], "takes 2 different"),
    ],
)
def test_a_goal_that_cannot_be_pursued_is_refused_in_one_line(clauses: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        goals(*clauses)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def kitchen(has_full_assets: bool) -> Iterator[LiberoEnv]:
    """libero_goal's one scene: a cabinet with three drawers, a stove, a rack."""
    if not has_full_assets:
        pytest.skip("needs LIBERO's assets")
    made = LiberoEnv("libero_goal", task_id=3, images=False)
    made.reset(options={"init_state": 0})
    yield made
    made.close()


@pytest.mark.sim
def test_putting_into_a_closed_drawer_implies_opening_it(kitchen: LiberoEnv) -> None:
    region = "wooden_cabinet_1_top_region"
    assert lid_of(kitchen.simulator, region) == region
    assert lid_of(kitchen.simulator, "flat_stove_1_cook_region") is None
    opening, putting = plan_steps(kitchen.simulator, goals(f"in akita_black_bowl_1 {region}"))
    assert said([opening.goal]) == [f"open {region}"]
    assert opening.is_pending(kitchen.simulator)
    assert putting.is_pending(kitchen.simulator)


@pytest.mark.sim
def test_an_open_drawer_is_drawn_out_to_its_stop(kitchen: LiberoEnv) -> None:
    simulator, joint = kitchen.simulator, "wooden_cabinet_1_top_level"
    simulator.sim.data.set_joint_qpos(joint, -0.145)
    simulator.sim.forward()
    opening, widening, _ = plan_steps(simulator, goals("in akita_black_bowl_1 wooden_cabinet_1_top_region"))
    for value, pending in ((-0.13, (True, True)), (-0.145, (False, True)), (-0.157, (False, False)), (0, (True, True))):
        simulator.sim.data.set_joint_qpos(joint, value)
        simulator.sim.forward()
        assert (opening.is_pending(simulator), widening.is_pending(simulator)) == pending


@pytest.mark.sim
def test_what_came_undone_is_pending_again(kitchen: LiberoEnv) -> None:
    simulator = kitchen.simulator
    [step] = plan_steps(simulator, goals("open wooden_cabinet_1_middle_region"))
    for value, pending in ((-0.15, False), (-0.1, True), (-0.155, False), (0.0, True)):
        simulator.sim.data.set_joint_qpos("wooden_cabinet_1_middle_level", value)
        simulator.sim.forward()
        assert step.is_pending(simulator) is pending


@pytest.mark.sim
@pytest.mark.parametrize(
    ("clause", "message"),
    [
        (
            "open wooden_cabinet_1_midle_region",
            "unknown thing in the goal.*mean 'wooden_cabinet_1_middle_region'",
        ),
        ("turnon wooden_cabinet_1_top_region", "nothing about 'wooden_cabinet_1_top_region' can be moved by turnon"),
        ("open plate_1", "nothing about 'plate_1' can be moved by open"),
        ("open main_table_stove_front_region", "can be moved by open"),
    ],
)
def test_a_goal_about_what_the_scene_does_not_have_is_refused(kitchen: LiberoEnv, clause: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        plan_steps(kitchen.simulator, goals(clause))
    assert "\n" not in str(error.value)


@pytest.mark.sim
def test_another_goal_of_the_scene_is_planned(kitchen: LiberoEnv) -> None:
    official, language = kitchen.simulator.goal, kitchen.simulator.language
    kitchen.simulator.set_goal([["open", "wooden_cabinet_1_bottom_region"]], language="open the bottom drawer")
    try:
        expert = Expert(kitchen.simulator)
        assert expert.act(kitchen.simulator).shape == (7,)
        assert expert.retries == 0
    finally:
        kitchen.simulator.set_goal(official, language=language)


@pytest.mark.parametrize("suite", ["libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90"])
def test_every_goal_of_libero_can_be_ordered(suite: str) -> None:
    from libero.libero.envs.bddl_utils import robosuite_parse_problem

    for task_id in range(num_tasks(suite)):
        clauses = robosuite_parse_problem(str(get_task(suite, task_id=task_id).bddl_file))["goal_state"]
        parsed = parse_goals(clauses, predicates=PREDICATES)
        assert sorted(said(order(parsed))) == sorted(said(parsed))
        assert parsed
