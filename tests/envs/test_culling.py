"""What is out of view is not drawn, and no pixel changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vst_vla.envs.culling import _mirrors, _unseen
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.vla.contracts import Array


def plain(simulator: Simulator, camera: str, *, size: int) -> Array:
    """robosuite's own picture of everything."""
    return np.asarray(simulator.sim.render(size, size, camera_name=camera)[::-1, ::-1])


def hidden(simulator: Simulator, camera: str) -> Array:
    model: Any = simulator.sim.model._model
    return _unseen(model, simulator.sim.data._data, simulator.sim.model.camera_name2id(camera))


@pytest.mark.sim
@pytest.mark.parametrize(("suite", "task_id", "size"), [("libero_object", 0, 256), ("libero_goal", 7, 96)])
def test_pictures_are_those_of_the_whole_scene(has_full_assets: bool, suite: str, task_id: int, size: int) -> None:
    if suite != "libero_object" and not has_full_assets:
        pytest.skip("needs LIBERO's own assets")
    env = LiberoEnv(suite, task_id=task_id, images=False)
    env.reset(options={"init_state": 20})
    simulator, rng = env.simulator, np.random.default_rng(0)
    groups = simulator.sim.model._model.geom_group.copy()
    num_hidden = []
    for _ in range(6):
        for camera in CAMERAS:
            picture = simulator.render(camera, size=size)
            np.testing.assert_array_equal(picture, plain(simulator, camera, size=size))
            num_hidden.append(int((hidden(simulator, camera) & (groups == 1)).sum()))
        env.step_chunk(np.tile(np.append(rng.uniform(-1, 1, 6), -1), (6, 1)))
    np.testing.assert_array_equal(simulator.sim.model._model.geom_group, groups)
    assert min(num_hidden[1::2]) > 10
    env.close()


@pytest.mark.sim
def test_a_mirror_in_view_shows_the_scene_whole(has_full_assets: bool) -> None:
    if not has_full_assets:
        pytest.skip("the stove is a mirror only in LIBERO's own assets")
    env = LiberoEnv("libero_goal", task_id=7, images=False)
    env.reset(options={"init_state": 20})
    simulator = env.simulator
    model = simulator.sim.model._model
    mirror = int(np.flatnonzero(_mirrors(model))[0])
    assert model.geom(mirror).name == "flat_stove_1_base_vis"
    assert not hidden(simulator, CAMERAS[0])[mirror]
    picture = simulator.render(CAMERAS[0], size=96)
    model.mat_reflectance[model.geom_matid[mirror]] = 0
    assert not np.array_equal(picture, simulator.render(CAMERAS[0], size=96))
    env.close()
