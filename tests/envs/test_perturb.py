"""Perturbed episodes on the real simulator: reproducible to the bit, as described, and gone at the next reset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from vst_vla.envs.assets import find_assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.perturb.goal import vary_goal, wording_of
from vst_vla.envs.perturb.layout import GAP
from vst_vla.envs.perturb.outlines import REACH, gap, outline_of
from vst_vla.envs.perturb.perturbation import AXES, Perturbation
from vst_vla.envs.perturb.solids import Solid, read_solids
from vst_vla.envs.perturb.things import read_things
from vst_vla.envs.vector import ChunkEnv, Episode, WorkerSettings
from vst_vla.vla.contracts import IMAGE_KEY, STILL_ACTION, WRIST_IMAGE_KEY, Array

pytestmark = pytest.mark.sim
SIZE = 64
BASKET = "basket_1_contain_region"
OFFICIAL = "pick up the alphabet soup and place it in the basket"


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    env = LiberoEnv("libero_object", task_id=0, image_size=SIZE)
    yield env
    env.close()


def reset(env: LiberoEnv, *axes: str, seed: int = 1, strength: float = 1.0) -> tuple[dict[str, Array], dict[str, Any]]:
    options: dict[str, Any] = {"init_state": 3}
    if axes:
        options["perturb"] = Perturbation(axes=axes, seed=(seed,), strength=strength)
    return env.reset(options=options)


def bits(env: LiberoEnv, *axes: str, **how: Any) -> tuple[str, list[bytes]]:
    """All that an episode's start is made of."""
    observation, info = reset(env, *axes, **how)
    parts = [env.simulator.get_state().tobytes(), *(observation[key].tobytes() for key in sorted(observation))]
    return json.dumps([info, env.simulator.goal], sort_keys=True), parts


def put_in_basket(env: LiberoEnv, name: str) -> None:
    data = env.simulator.sim.data
    pose = data.get_joint_qpos(f"{name}_joint0").copy()
    pose[:3] = data.get_joint_qpos("basket_1_joint0")[:3] + np.array([0, 0, 0.05])
    data.set_joint_qpos(f"{name}_joint0", pose)
    env.simulator.sim.forward()


def solids(env: LiberoEnv) -> dict[str, Solid]:
    return {solid.name: solid for solid in read_solids(env.simulator)}


def places(env: LiberoEnv) -> dict[str, Array]:
    data = env.simulator.sim.data._data
    return {name: data.xpos[solid.root].copy() for name, solid in solids(env).items() if not solid.fixture}


def test_same_seed_same_episode_and_nothing_stays(env: LiberoEnv) -> None:
    plain = bits(env)
    varied = bits(env, *AXES)
    assert bits(env, *AXES, seed=2) != varied
    assert bits(env, *AXES) == varied
    assert bits(env) == plain
    again = LiberoEnv("libero_object", task_id=0, image_size=SIZE)
    assert bits(again, *AXES) == varied
    again.close()


def test_each_axis_draws_from_its_own_stream(env: LiberoEnv) -> None:
    together = reset(env, "camera", "light", "goal")[1]["perturbation"]
    for axis in ("camera", "light", "goal"):
        assert reset(env, axis)[1]["perturbation"] == {axis: together[axis]}


def test_camera_and_light_change_the_picture_only(env: LiberoEnv) -> None:
    official, _ = reset(env)
    state = env.simulator.get_state()
    for axis, sees in (("camera", False), ("light", True)):
        observation, info = reset(env, axis)
        assert np.array_equal(env.simulator.get_state(), state)
        assert not np.array_equal(observation[IMAGE_KEY], official[IMAGE_KEY])
        assert np.array_equal(observation[WRIST_IMAGE_KEY], official[WRIST_IMAGE_KEY]) is not sees
        assert info["task"] == OFFICIAL


def test_a_weak_camera_stays_near(env: LiberoEnv) -> None:
    turns = {s: [reset(env, "camera", seed=i, strength=s)[1] for i in range(4)] for s in (0.1, 1.0)}
    weak, strong = (max(info["perturbation"]["camera"]["turn_deg"] for info in infos) for infos in turns.values())
    assert weak <= 2.5 < strong <= 25


def test_layouts_are_apart_in_reach_and_at_rest(env: LiberoEnv) -> None:
    reset(env)
    start = places(env)
    for seed in range(3):
        _, info = reset(env, "layout", seed=seed)
        moved = info["perturbation"]["layout"]["moved"]
        assert "basket_1" in moved
        assert len(moved) >= 5
        now, data = places(env), env.simulator.sim.data._data
        for name, where in moved.items():
            np.testing.assert_allclose(where["to"], now[name][:2], atol=0.02)
            assert np.linalg.norm(now[name] - start[name]) > 0.005
            assert REACH[0] - 0.02 < np.linalg.norm(now[name][:2] - data.body("robot0_base").xpos[:2]) < REACH[1] + 0.02
        outlines = {name: outline_of(solids(env)[name], data) for name in moved}
        for name, mine in outlines.items():
            assert all(gap(mine, other) > GAP - 0.02 for rival, other in outlines.items() if rival != name)
        env.step_chunk(np.tile(np.array(STILL_ACTION), (20, 1)))
        assert all(np.linalg.norm(places(env)[name] - now[name]) < 0.01 for name in now)


def test_a_weak_layout_moves_little(env: LiberoEnv) -> None:
    reset(env)
    start = places(env)
    _, info = reset(env, "layout", strength=0.05)
    assert info["perturbation"]["layout"]["moved"]
    assert all(np.linalg.norm(places(env)[name] - start[name]) < 0.06 for name in start)


def test_success_is_judged_by_the_new_goal(env: LiberoEnv) -> None:
    _, info = reset(env, "goal")
    ((predicate, item, region),) = info["perturbation"]["goal"]["goal"]
    assert (predicate, region) == ("in", BASKET)
    assert item != "alphabet_soup_1"
    assert info["task"] == OFFICIAL.replace("alphabet soup", item.removesuffix("_1").replace("_", " "))
    assert info["perturbation"]["goal"]["task"] == info["task"]
    put_in_basket(env, "alphabet_soup_1")
    assert not env.step(np.array(STILL_ACTION))[4]["success"]
    put_in_basket(env, item)
    assert env.step(np.array(STILL_ACTION))[4]["success"]
    assert reset(env)[1]["task"] == OFFICIAL
    assert env.simulator.goal == [["in", "alphabet_soup_1", BASKET]]


def test_a_scene_without_another_goal_says_so(env: LiberoEnv) -> None:
    reset(env)
    for name in places(env):
        if name != "basket_1":
            put_in_basket(env, name)
    with pytest.raises(ValueError, match=r"no other goal can be asked in 'pick up the alphabet soup.*leave out goal"):
        vary_goal(env.simulator, strength=1.0, rng=np.random.default_rng(0), undo=ExitStack())


@pytest.mark.parametrize(("suite", "asked"), [("libero_spatial", False), ("libero_goal", True)])
def test_a_drawer_that_comes_out_away_from_the_robot_is_not_to_be_opened(
    suite: str, *, asked: bool, has_full_assets: bool
) -> None:
    if not has_full_assets:
        pytest.skip(f"{suite} needs LIBERO's assets")
    env = LiberoEnv(suite, task_id=9, images=False)
    reset(env)
    drawn = set()
    for seed in range(12):
        with ExitStack() as undo:
            how = vary_goal(env.simulator, strength=1.0, rng=np.random.default_rng(seed), undo=undo)
            drawn |= {clause[0] for clause in how["goal"]}
    env.close()
    assert ("open" in drawn) is asked
    assert {"on", "turnon"} <= drawn


def test_a_vector_environment_hands_the_description_on() -> None:
    settings = WorkerSettings(
        suite="libero_object",
        image_size=16,
        execute=2,
        max_steps=4,
        settle_steps=10,
        assets=find_assets("libero_object"),
    )
    worker = ChunkEnv(settings)
    changed = Perturbation(axes=("goal", "light"), seed=(1,))
    envs = SyncVectorEnv([lambda: worker])
    _, infos = envs.reset(options={"episode": Episode(task_id=0, init_state=3, seed=0, perturb=changed)})
    described = json.loads(infos["perturbation"][0])
    assert set(described) == {"goal", "light"}
    assert infos["task"][0] == described["goal"]["task"]
    envs.close()


def test_bowls_on_other_things(has_full_assets: bool) -> None:
    """A bowl moves with what carries it, one in a drawer stays, and the sentence is true where things now are."""
    if not has_full_assets:
        pytest.skip("libero_spatial needs LIBERO's assets")
    carried = {3: "cookies_1", 5: "glazed_rim_porcelain_ramekin_1", 4: "wooden_cabinet_1_top_region"}
    for task_id, support in carried.items():
        env = LiberoEnv("libero_spatial", task_id=task_id, images=False)
        reset(env)
        before, official = places(env), env.simulator.goal
        _, info = reset(env, "layout")
        now, things = places(env), read_things(env.simulator)
        assert things["akita_black_bowl_1"].support == support
        if support in now:
            assert np.linalg.norm(now[support] - before[support]) > 0.01
            apart, was_apart = (np.linalg.norm(p["akita_black_bowl_1"] - p[support]) for p in (now, before))
            assert apart == pytest.approx(was_apart, abs=0.005)
        else:
            np.testing.assert_allclose(now["akita_black_bowl_1"], before["akita_black_bowl_1"], atol=0.005)
        assert env.simulator.goal == official
        assert info["task"] in wording_of(env.simulator).sentences([tuple(clause) for clause in official])
        assert not env.simulator.success()
        env.close()
