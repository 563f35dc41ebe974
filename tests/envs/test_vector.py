"""One worker's environment, in this process: chunks, parking, films, and a simulator that breaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.perturb.perturbation import Perturbation
from vst_vla.envs.threads import one_thread_each
from vst_vla.envs.vector import ChunkEnv, Episode, WorkerSettings
from vst_vla.envs.worker import start_workers
from vst_vla.vla.contracts import IMAGE_KEY, STATE_KEY, STILL_ACTION

pytestmark = pytest.mark.sim
SIZE = 64
CHUNKS = np.random.default_rng(3).uniform(-1, 1, (4, 4, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def settings() -> WorkerSettings:
    assets = find_assets("libero_object")
    return WorkerSettings(
        suite="libero_object", image_size=SIZE, execute=4, max_steps=10, settle_steps=10, assets=assets
    )


@pytest.fixture(scope="module")
def worker(settings: WorkerSettings) -> Iterator[ChunkEnv]:
    env = ChunkEnv(settings)
    yield env
    env.close()


def start(env: ChunkEnv, **more: Any) -> dict[str, Any]:
    episode = Episode(**{"task_id": 0, "init_state": 2, "seed": 0, **more})
    return env.reset(options={"episode": episode})[0]


def film_facts(path: Path) -> tuple[int, float, int]:
    """Frames, frames a second, width."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sum(1 for _ in container.decode(stream)), float(stream.average_rate or 0), stream.width


def test_observations_are_liberos(worker: ChunkEnv) -> None:
    env = LiberoEnv("libero_object", task_id=0, image_size=SIZE)
    pairs = [(start(worker), env.reset(seed=0, options={"init_state": 2})[0])]
    pairs += [(worker.step(chunk)[0], env.step_chunk(chunk)[0]) for chunk in CHUNKS[:2]]
    env.close()
    for ours, theirs in pairs:
        assert set(ours) == set(theirs)
        assert worker.observation_space.contains(ours)
        for key, value in theirs.items():
            assert np.array_equal(ours[key], value), key


def test_max_steps_cuts_inside_a_chunk(worker: ChunkEnv) -> None:
    start(worker)
    results = [worker.step(chunk) for chunk in CHUNKS[:3]]
    assert [r[3] for r in results] == [False, False, True]
    assert results[-1][4]["num_steps"] == 10


def test_another_task_is_another_scene_and_the_same_one_is_kept(worker: ChunkEnv) -> None:
    first, scene = start(worker), worker.env
    assert start(worker, init_state=3) is not None
    assert worker.env is scene, "building a scene takes seconds"
    other = start(worker, task_id=3)
    assert worker.env is not scene
    assert worker.env.task.task_id == 3
    assert not np.array_equal(other[IMAGE_KEY], first[IMAGE_KEY])
    assert np.array_equal(start(worker)[IMAGE_KEY], first[IMAGE_KEY])


def test_a_scene_that_cannot_be_changed_ends_before_it_begins(
    worker: ChunkEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vst_vla.envs.perturb.goal._IN_PART", {})
    episode = Episode(task_id=0, init_state=2, seed=0, perturb=Perturbation(axes=("goal",), seed=(0,)))
    _, info = worker.reset(options={"episode": episode})
    assert (info["success"], info["num_steps"]) == (False, 0)
    assert info["error"].startswith("CannotVary: no other goal can be asked")


class StillInsider:
    """Acts inside the worker: holds still, and says so by what it was given."""

    def __init__(self, simulator: Any) -> None:
        self.simulator = simulator

    def act(self, simulator: Any) -> Any:
        assert simulator is self.simulator
        return np.array(STILL_ACTION, np.float32)


def test_an_insider_acts_in_the_place_of_the_chunk(settings: WorkerSettings, worker: ChunkEnv) -> None:
    inside = ChunkEnv(replace(settings, insider=StillInsider, draws=False))
    start(inside)
    start(worker)
    still = np.tile(np.array(STILL_ACTION, np.float32), (4, 1))
    for _ in range(2):
        ours, theirs = inside.step(CHUNKS[0])[0], worker.step(still)[0]
        assert np.array_equal(ours[STATE_KEY], theirs[STATE_KEY])
    assert not ours[IMAGE_KEY].any(), "nobody looks"
    inside.close()


def test_a_film_shows_every_step_or_every_chunk(worker: ChunkEnv, tmp_path: Path) -> None:
    plain = start(worker)
    trail = [worker.step(chunk)[0] for chunk in CHUNKS[:2]]
    for name, size, facts in (("smooth.mp4", 96, (10, 20.0, 96)), ("chunks.mp4", None, (4, 5.0, SIZE))):
        filmed = start(worker, film=tmp_path / name, film_size=size)
        assert np.array_equal(filmed[IMAGE_KEY], plain[IMAGE_KEY])
        for chunk, before in zip(CHUNKS, trail, strict=False):
            observation = worker.step(chunk)[0]
            assert all(np.array_equal(observation[key], before[key]) for key in before), "filming must change nothing"
        worker.step(CHUNKS[2])
        assert film_facts(tmp_path / name) == facts


def test_a_broken_simulator_ends_the_episode_and_not_the_run(
    worker: ChunkEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = start(worker)
    start(worker, film=tmp_path / "a.mp4")

    def explode(actions: Any) -> Any:
        raise RuntimeError("unstable\nsimulation")

    with monkeypatch.context() as patch:
        patch.setattr(worker.env, "step_chunk", explode)
        _, reward, terminated, truncated, info = worker.step(CHUNKS[0])
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info == {"success": False, "num_steps": 0, "error": "RuntimeError: unstable simulation"}
    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(start(worker)[IMAGE_KEY], whole[IMAGE_KEY])


def test_a_full_disk_is_not_the_simulators_fault(worker: ChunkEnv, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="blocked"):
        start(worker, film=tmp_path / "blocked" / "a.mp4")
    start(worker)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [(np.full((4, 7), np.nan), "NaN"), (np.full((4, 7), 2.0), "expected"), (np.zeros((4, 6)), "shape")],
)
def test_bad_actions_are_raised_not_recorded(worker: ChunkEnv, chunk: Any, message: str) -> None:
    start(worker)
    with pytest.raises(ValueError, match=message):
        worker.step(chunk)


def test_workers_get_one_thread_and_ours_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with one_thread_each():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "MKL_NUM_THREADS" not in os.environ


def test_no_workers_is_an_error(settings: WorkerSettings) -> None:
    with pytest.raises(ValueError, match="num_envs is 0, expected at least 1"):
        start_workers(settings, count=0)
