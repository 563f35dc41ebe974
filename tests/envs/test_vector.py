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
from vst_vla.envs.threads import one_thread_each
from vst_vla.envs.vector import ChunkEnv, Episode, WorkerSettings, make_vector_env
from vst_vla.vla.contracts import IMAGE_KEY

pytestmark = pytest.mark.sim
SIZE = 64
CHUNKS = np.random.default_rng(3).uniform(-1, 1, (4, 4, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def settings() -> WorkerSettings:
    assets = find_assets("libero_object")
    return WorkerSettings(suite="libero_object", task_id=0, image_size=SIZE, execute=4, max_steps=10, assets=assets)


@pytest.fixture(scope="module")
def worker(settings: WorkerSettings) -> Iterator[ChunkEnv]:
    env = ChunkEnv(settings)
    yield env
    env.close()


def start(env: ChunkEnv, **more: Any) -> dict[str, Any]:
    env.episode = Episode(init_state=2, seed=0, **more)
    return env.reset()[0]


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


def test_max_steps_cuts_inside_a_chunk_then_it_parks(worker: ChunkEnv) -> None:
    start(worker)
    results = [worker.step(chunk) for chunk in CHUNKS[:3]]
    assert [r[3] for r in results] == [False, False, True]
    assert results[-1][4]["num_steps"] == 10
    worker.episode = None
    last, info = worker.reset()
    assert info == {}
    observation, _, terminated, truncated, info = worker.step(CHUNKS[0])
    assert (terminated, truncated, info) == (False, False, {})
    assert all(np.array_equal(observation[key], last[key]) for key in last)


def test_a_worker_without_any_episode_shows_zeros(settings: WorkerSettings) -> None:
    env = ChunkEnv(settings)
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    assert not observation[IMAGE_KEY].any()
    env.close()


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
        patch.setattr(worker._env, "step_chunk", explode)
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
        make_vector_env(replace(settings), num_envs=0)
