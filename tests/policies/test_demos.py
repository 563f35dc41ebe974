"""Demonstrations: recorded in LIBERO for real, opened with LeRobot, resumed after a kill, and every bad input."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.suites import NUM_EVAL_STATES
from vst_vla.policies import collect
from vst_vla.policies.demo_dataset import read_record
from vst_vla.policies.demo_episode import EpisodeJob, disturb, record
from vst_vla.policies.demo_speed import draw_every_step
from vst_vla.policies.demos import make_demos
from vst_vla.policies.recording import Recorder, Recording, encode_png, is_no_op
from vst_vla.policies.staging import Staging
from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEYS, LIBERO_ACTION, STATE_KEY, Array, geometry_key
from vst_vla.vla.data.robot import RobotDataset

SMALL: dict[str, Any] = {"task_ids": [0], "num_episodes": 2, "image_size": 32}
SENTENCE = "pick up the alphabet soup and place it in the basket"


def settings(**changes: Any) -> dict[str, Any]:
    plain = {
        "suite": "libero_object",
        "seed": 0,
        "noise": 1.0,
        "video": False,
        "assets": find_assets("libero_object").kind,
    }
    return {**plain, **SMALL, **changes}


def recording(length: int = 5, *, init_state: int = 20) -> Recording:
    picture = np.full((32, 32, 3), init_state, dtype=np.uint8)
    return Recording(
        task=SENTENCE,
        task_id=0,
        init_state=init_state,
        tries=1,
        steps=length,
        states=np.arange(8 * length, dtype=np.float32).reshape(length, 8),
        actions=np.zeros((length, 7), dtype=np.float32),
        images={key: [encode_png(picture)] * length for key in IMAGE_KEYS},
    )


def labelled_recording(env: LiberoEnv) -> Recording:
    """Four frames of the hand on its way down, labelled when all is over."""
    observation, _ = env.reset(options={"init_state": 20})
    frames, down = Recorder(env.simulator), np.array([0, 0, -1, 0, 0, 0, -1], dtype=np.float32)
    for _ in range(4):
        frames.add(observation[STATE_KEY], down)
        observation, *_ = env.step(down)
    labels, classes = frames.label()
    images = frames.draw(size=32)
    return replace(recording(4), actions=frames.actions, images=images, labels=labels, classes=classes)


def staged(out: Path, count: int = 2, **changes: Any) -> Staging:
    """Finished episodes beside `out`, as a killed run leaves them."""
    staging = Staging(out.with_name(out.name + ".partial"))
    with staging.open(settings(**changes), restart=False):
        for index in range(count):
            staging.put(index, recording(5 + index, init_state=20 + index))
    return staging


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    made = LiberoEnv("libero_object", task_id=0, images=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demos") / "two"
    report = make_demos(out=out, num_workers=2, **SMALL)
    assert not report.reused
    assert report.num_episodes == 2
    return out


@pytest.mark.sim
def test_lerobot_opens_the_data_set_unmodified(made: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    window = {ACTION_KEY: [i / 20 for i in range(8)]}
    dataset = LeRobotDataset("anyone/anything", root=made, delta_timestamps=window, video_backend="pyav")
    assert (dataset.fps, dataset.num_episodes, dataset.meta.robot_type) == (20, 2, "panda")
    assert len(dataset) == sum(episode["frames"] for episode in read_record(made)["episodes"])
    first, last = dataset[0], dataset[len(dataset) - 1]
    assert first["task"] == SENTENCE
    assert first[ACTION_KEY].shape == (8, 7)
    assert first[STATE_KEY].shape == (8,)
    assert not first["action_is_pad"].any()
    assert last["action_is_pad"].tolist() == [False] + [True] * 7
    for key in IMAGE_KEYS:
        assert first[key].shape == (3, 32, 32)
        assert not (first[key] == last[key]).all()


@pytest.mark.sim
def test_labels_of_the_pictures_are_stored_beside_them(env: LiberoEnv, tmp_path: Path) -> None:
    """LeRobot reads them and takes them for no input of its own policies; the rest is what it is without them."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.utils.feature_utils import dataset_to_policy_features

    plain = {"task_ids": [0], "num_episodes": 1, "image_size": 32}
    wanted = labelled_recording(env)
    given = settings(num_episodes=1, geometry=True)
    staging = Staging(tmp_path / "out.partial")
    with staging.open(given, restart=False):
        staging.put(0, wanted)
    make_demos(out=tmp_path / "out", **plain, geometry=True)
    dataset = LeRobotDataset("anyone/anything", root=tmp_path / "out", video_backend="pyav")
    for index in (0, len(dataset) - 1):
        for key in map(geometry_key, IMAGE_KEYS):
            assert tuple(dataset[index][key].shape) == (32, 32, 5)
            np.testing.assert_array_equal(dataset[index][key], wanted.labels[key][index])
    assert {key.split(".")[0] for key in dataset_to_policy_features(dataset.meta.features)} == {"observation", "action"}
    classes = read_record(tmp_path / "out")["geometry"]["classes"]
    assert classes[:2] == ["background", "robot"]
    soup = wanted.labels[geometry_key(IMAGE_KEYS[0])][..., 0] == classes.index("alphabet soup")
    assert soup.any(axis=(1, 2)).all()
    reader = RobotDataset(tmp_path / "out", chunk=2, geometry=True)
    np.testing.assert_array_equal(reader[3]["geometry.image2"], wanted.labels["geometry.image2"][3])
    with pytest.raises(ValueError, match=r"exists with geometry=True, not None"):
        make_demos(out=tmp_path / "out", **plain)


@pytest.mark.sim
def test_statistics_are_those_of_all_frames(made: Path) -> None:
    import pyarrow.parquet as pq

    stats = json.loads((made / "meta" / "stats.json").read_text())
    table = pq.read_table(made / "data" / "chunk-000" / "file-000.parquet")
    actions = np.stack(table[ACTION_KEY].to_numpy())
    for name, value in (("q01", np.quantile(actions, 0.01, axis=0)), ("q99", np.quantile(actions, 0.99, axis=0))):
        np.testing.assert_allclose(stats[ACTION_KEY][name], value, atol=1e-6)
    assert set(np.unique(actions[:, 6])) == {-1.0, 1.0}
    assert np.shape(stats[IMAGE_KEYS[0]]["mean"]) == (3, 1, 1)
    assert 0 < np.mean(stats[IMAGE_KEYS[0]]["mean"]) < 1


@pytest.mark.sim
def test_the_record_names_how_it_was_made(made: Path) -> None:
    found = read_record(made)
    assert found["assets"] == find_assets("libero_object").kind
    assert found["tasks"] == {"0": SENTENCE}
    assert found["action_spec"]["names"] == list(LIBERO_ACTION.names)
    assert 0 < found["expert_success_rate"] <= 1
    assert all(episode["init_state"] >= NUM_EVAL_STATES for episode in found["episodes"])
    assert not made.with_name("two.partial").exists()


@pytest.mark.sim
def test_a_finished_data_set_is_reused_or_refused(made: Path) -> None:
    before = contents(made)
    assert make_demos(out=made, **SMALL).reused
    with pytest.raises(ValueError, match=r"exists with seed=0, not 1: choose another out=.*overwrite=true"):
        make_demos(out=made, **SMALL, seed=1)
    assert contents(made) == before


@pytest.mark.sim
@pytest.mark.slow
def test_kill_and_another_number_of_workers_change_nothing(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    arguments = f"out={str(out)!r}, task_ids=[0], num_episodes=2, image_size=32, num_workers=1"
    code = f"from vst_vla.policies.demos import make_demos\nif __name__ == '__main__': make_demos({arguments})"
    script = tmp_path / "run.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    partial = tmp_path / "two.partial"
    for _ in range(12000):
        if (partial / "episode-000000.npz").exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = (partial / "episode-000000.npz").stat()
    assert not out.exists()
    make_demos(out=out, num_workers=1, **SMALL)
    assert first.st_size > 0
    assert contents(out) == contents(made)


@pytest.mark.sim
def test_the_clean_action_is_recorded_and_the_noisy_one_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    env, executed = LiberoEnv("libero_object", task_id=0, images=False), []
    step = env.step

    def logged(action: Array) -> Any:
        executed.append(action)
        return step(action)

    monkeypatch.setattr(env, "step", logged)
    job = EpisodeJob(task_id=0, number=3, seed=5, noise=1.0, image_size=16)
    found = record(env, job)
    env.close()
    assert isinstance(found, Recording)
    assert found.init_state == 23
    assert found.tries == 1
    assert found.steps == len(executed) == len(found.actions)
    difference = np.stack(executed) - found.actions
    assert 0.05 < difference[:, :3].std() < 0.3
    np.testing.assert_array_equal(difference[:, 3:], 0)
    moved = np.linalg.norm(np.diff(found.states[:, :3], axis=0), axis=1)
    assert moved.max() < 0.03  # m a step


@pytest.mark.sim
def test_pictures_drawn_after_the_episode_are_those_of_every_step(env: LiberoEnv) -> None:
    job = EpisodeJob(task_id=0, number=1, seed=0, noise=1.0, image_size=32, geometry=True)
    found = record(env, job)
    assert isinstance(found, Recording)
    assert found.tries == 1
    assert draw_every_step(env, job) == found.images
    robot = found.classes.index("robot")
    for state, labels in zip(found.states, found.labels["geometry.image"], strict=True):
        points = labels[labels[..., 0] == robot, 2:] / 1000
        assert np.linalg.norm(points - state[:3], axis=-1).min() < 0.08, "the hand is where the state has it"


def test_disturbed_actions_stay_legal_and_keep_rotation_and_gripper() -> None:
    action = np.array([1, -1, 0, 0.1, 0.2, 0.3, 1], dtype=np.float32)
    rng = np.random.default_rng(0)
    many = np.stack([disturb(action, scale=0.5, rng=rng) for _ in range(50)])
    LIBERO_ACTION.check(many)
    np.testing.assert_array_equal(many[:, 3:], np.tile(action[3:], (50, 1)))
    assert many[:, 2].std() > 0.3
    np.testing.assert_array_equal(disturb(action, scale=0.0, rng=rng), action)


def test_no_ops_are_still_hands_with_an_unchanged_gripper() -> None:
    still, closing = np.array([0, 0, 0, 0, 0, 0, -1.0]), np.array([0, 0, 0, 0, 0, 0, 1.0])
    moving = np.array([0.01, 0, 0, 0, 0, 0, -1.0])
    assert is_no_op(still, previous=moving)
    assert not is_no_op(still, previous=None)
    assert not is_no_op(closing, previous=still)
    assert not is_no_op(moving, previous=still)


def test_staged_episodes_come_back_as_they_were(tmp_path: Path) -> None:
    found = staged(tmp_path / "out", count=2).get(1)
    wanted = recording(6, init_state=21)
    assert found.images == wanted.images
    np.testing.assert_array_equal(found.states, wanted.states)
    assert (found.task, found.init_state, found.tries, found.steps) == (SENTENCE, 21, 1, 6)


def test_a_run_goes_on_from_staged_episodes(tmp_path: Path) -> None:
    staged(tmp_path / "out")
    report = make_demos(out=tmp_path / "out", **SMALL)
    assert (report.num_episodes, report.num_frames) == (2, 11)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_other_settings_in_a_begun_folder_are_named(tmp_path: Path) -> None:
    staging = staged(tmp_path / "out", seed=3)
    with pytest.raises(ValueError, match=r"begun with seed=3, not 0: .*overwrite=true"):
        make_demos(out=tmp_path / "out", **SMALL)
    assert staging.has(0)
    with staging.open(settings(), restart=True):
        assert not staging.has(0)


def test_two_writers_on_one_folder(tmp_path: Path) -> None:
    staging = staged(tmp_path / "out")
    with (
        staging.open(settings(), restart=False),
        pytest.raises(ValueError, match=rf"process {os.getpid()} is already writing to"),
    ):
        make_demos(out=tmp_path / "out", **SMALL)
    assert make_demos(out=tmp_path / "out", **SMALL).num_episodes == 2


def test_a_full_disk_while_staging_leaves_no_half_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = staged(tmp_path / "out", count=1)

    def full(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        staging.put(1, recording())
    assert sorted(p.name for p in staging.folder.iterdir()) == ["episode-000000.npz", "lock", "settings.json"]


def test_a_full_disk_while_writing_keeps_the_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = staged(tmp_path / "out")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(collect, "write_demos", full)
        with pytest.raises(OSError, match=r"disk is full: 2 finished episodes are safe in .*out.partial"):
            make_demos(out=tmp_path / "out", **SMALL)
    assert staging.has(0)
    assert not (tmp_path / "out").exists()
    assert make_demos(out=tmp_path / "out", **SMALL).num_frames == 11


def test_overwrite_replaces_our_data_sets_only(tmp_path: Path) -> None:
    staged(tmp_path / "out")
    make_demos(out=tmp_path / "out", **SMALL)
    staged(tmp_path / "out", seed=1)
    make_demos(out=tmp_path / "out", **SMALL, seed=1, overwrite=True)
    assert read_record(tmp_path / "out")["seed"] == 1
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not a data set made by"):
        make_demos(out=precious, **SMALL, overwrite=True)
    assert (precious / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite": "libero_objects"}, "unknown suite 'libero_objects': did you mean 'libero_object'"),
        ({"task_ids": [10]}, "task_id 10 is out of range: libero_object has tasks 0 to 9"),
        ({"task_ids": []}, "must name at least one task"),
        ({"task_ids": [1, 1]}, "each once"),
        ({"num_episodes": 0}, "num_episodes 0 is too small: give at least 1"),
        ({"num_workers": 0}, "num_workers 0 is too small"),
        ({"image_size": 8}, "image_size 8 is too small: give at least 16"),
        ({"noise": -1.0}, "noise -1.0 is too small"),
        ({"noise": float("nan")}, "noise nan is too small"),
        ({"vary": ["lay"]}, "unknown axis 'lay': did you mean 'layout'"),
        ({"vary": "layout"}, r"vary 'layout' is no list: give vary=\[layout\]"),
        ({"vary": ["light"], "vary_strength": 0}, "strength is 0, expected more than 0"),
    ],
)
def test_bad_arguments(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_demos(out=tmp_path / "out", **{**SMALL, **changes})
    assert not list(tmp_path.iterdir())


def test_an_out_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to '.*': Not a directory; choose another out="):
        make_demos(out=tmp_path / "file" / "out", **SMALL)
