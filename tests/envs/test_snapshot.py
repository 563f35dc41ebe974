"""Snapshots: what is drawn from one later is what would have been drawn then, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.envs.snapshot import Snapshot, draw_snapshots, take_snapshot
from vst_vla.envs.suites import get_task
from vst_vla.vla.contracts import Array

SIZE = 48


def pictures(simulator: Simulator) -> list[Array]:
    return [simulator.render(camera, size=SIZE) for camera in CAMERAS]


def draw(simulator: Simulator, snapshots: list[Snapshot]) -> list[list[Array]]:
    return list(draw_snapshots(simulator, snapshots, cameras=CAMERAS, size=SIZE))


@pytest.mark.sim
def test_pictures_drawn_later_are_those_of_the_time() -> None:
    env = LiberoEnv("libero_object", task_id=0, images=False)
    env.reset(options={"init_state": 20})
    rng = np.random.default_rng(0)
    taken, seen = [], []
    for _ in range(6):
        env.step_chunk(np.tile(rng.uniform(-1, 1, 7), (4, 1)))
        taken.append(take_snapshot(env.simulator))
        seen.append(pictures(env.simulator))
    before = env.simulator.get_state()
    np.testing.assert_array_equal(draw(env.simulator, taken), seen)
    np.testing.assert_array_equal(pictures(env.simulator), seen[-1])
    np.testing.assert_array_equal(env.simulator.get_state(), before)
    assert len({np.stack(views).tobytes() for views in seen}) == 6
    env.close()


@pytest.mark.sim
def test_a_burner_that_lit_later_is_dark_in_an_earlier_moment(has_full_assets: bool) -> None:
    if not has_full_assets:
        pytest.skip("the stove needs LIBERO's own assets")
    env = LiberoEnv("libero_goal", task_id=7, images=False)
    assert get_task("libero_goal", task_id=7).language == "turn on the stove"
    env.reset(options={"init_state": 20})
    simulator = env.simulator
    dark, dark_views = take_snapshot(simulator), pictures(simulator)
    knob = simulator.problem.get_object("flat_stove_1").joints[0]
    simulator.sim.data.set_joint_qpos(knob, 0.7)
    simulator.step(np.zeros(7))
    lit_views = pictures(simulator)
    assert not np.array_equal(simulator.sim.model.site_rgba, dark.site_rgba)
    np.testing.assert_array_equal(draw(simulator, [dark])[0], dark_views)
    np.testing.assert_array_equal(pictures(simulator), lit_views)
    env.close()
