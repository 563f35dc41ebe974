"""Questions made on a real Ray cluster of this machine equal those made by its own processes."""

import pytest

from vst_vla.envs.qa.generate import make_qa

pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.alone]


@pytest.mark.usefixtures("ray_cluster")
def test_ray_makes_the_same_files(tmp_path):
    settings = {"mixture": {"detection": 1, "caption": 1}, "task_ids": [0], "num_items": 8, "shard_size": 4}
    settings |= {"image_size": 64, "progress": False}
    theirs = make_qa(tmp_path / "ray", **settings, launcher="ray")
    assert make_qa(tmp_path / "local", **settings, num_workers=1) == theirs
    for path in (tmp_path / "local").glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "ray" / path.name).read_bytes()
    assert len(list((tmp_path / "ray").glob("*.parquet"))) == 2
