"""Scenes in another light, before another background: what is true of them stays, and so do their own looks."""

from __future__ import annotations

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa.generate import make_qa
from vst_vla.envs.qa.looks import Looks
from vst_vla.envs.qa.stage import Shot, Stage

pytestmark = pytest.mark.sim
SHOT = Shot(cameras=("agentview",), extra_views=1, image_size=64, mirror=True, init_states=(20,), varied_looks=1.0)


def test_looks_change_nothing_but_looks_and_can_be_taken_back():
    stage = Stage("libero_object", task_id=1, assets=find_assets("libero_object"))
    rng = np.random.default_rng(0)
    stage.rearranged(SHOT, rng=rng)
    stage._looks.draw(0.0, rng=rng)
    looks, seen = Looks(stage.simulator), []
    for share in (0.0, 1.0, 1.0, 0.0):
        looks.draw(share, rng=rng)
        seen.append(stage.reader.capture(cameras=("agentview",), size=64))
    stage.close()
    plain, one, other, again = (scene.images[0].astype(int) for scene in seen)
    assert np.abs(plain - one).mean() > 10
    assert np.abs(one - other).mean() > 10
    np.testing.assert_array_equal(plain, again)
    for scene in seen[1:]:
        np.testing.assert_array_equal(scene.depth, seen[0].depth)
        np.testing.assert_array_equal(scene.instances, seen[0].instances)


def test_a_dataset_in_many_looks_does_not_depend_on_who_makes_it(tmp_path):
    made = {"mixture": {"detection": 1.0}, "suite": "libero_object", "task_ids": [1], "image_size": 64, "cameras": []}
    made |= {"num_items": 6, "shard_size": 3, "items_per_scene": 2, "extra_views": 2, "progress": False}
    for workers in (1, 2):
        make_qa(tmp_path / str(workers), **made, varied_looks=0.5, num_workers=workers)
    make_qa(tmp_path / "plain", **made, num_workers=1)
    parts = ["part-00000.parquet", "part-00001.parquet"]
    one, two, plain = ([(tmp_path / name / part).read_bytes() for part in parts] for name in ("1", "2", "plain"))
    assert one == two
    assert one != plain
