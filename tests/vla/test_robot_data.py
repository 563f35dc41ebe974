"""LeRobot datasets as samples: equal to LeRobotDataset's own, chosen, put together, refused when unfit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

from vst_vla.vla.contracts import ACTION_IS_PAD_KEY, ACTION_KEY, IMAGE_KEYS, STATE_KEY, TASK_KEY
from vst_vla.vla.data.robot import ReaderOptions, RobotDataset


def assert_same_as_lerobot(folder: Path, chunk: int, episodes: list[int] | None = None, fps: int = 20) -> None:
    """Every sample, tensor for tensor."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    chosen = ReaderOptions(episodes=None if episodes is None else tuple(episodes))
    ours = RobotDataset(folder, chunk=chunk, options=chosen, fps=fps)
    window = {ACTION_KEY: [i / fps for i in range(chunk)]}
    theirs = LeRobotDataset("a/b", root=folder, delta_timestamps=window, episodes=episodes, video_backend="pyav")
    assert len(ours) == len(theirs) > 0
    assert ours.num_episodes == theirs.num_episodes
    for index in range(len(ours)):
        a, b = ours[index], theirs[index]
        np.testing.assert_array_equal(a[ACTION_KEY], b[ACTION_KEY].numpy())
        np.testing.assert_array_equal(a[STATE_KEY], b[STATE_KEY].numpy())
        np.testing.assert_array_equal(a[ACTION_IS_PAD_KEY], b[f"{ACTION_KEY}_is_pad"].numpy())
        assert a[TASK_KEY] == b[TASK_KEY]
        for key in IMAGE_KEYS:
            np.testing.assert_array_equal(a[key], np.round(b[key].numpy().transpose(1, 2, 0) * 255).astype(np.uint8))


@pytest.mark.parametrize("episodes", [None, [1]])
def test_same_samples_as_lerobot(robot_folder: Path, episodes: list[int] | None) -> None:
    assert_same_as_lerobot(robot_folder, 8, episodes)


@pytest.mark.parametrize("episodes", [None, [1]])
def test_same_samples_as_lerobot_out_of_videos(video_folder: Path, episodes: list[int] | None) -> None:
    assert_same_as_lerobot(video_folder, 5, episodes)


def test_single_video_frames_are_those_of_the_whole_video(video_folder: Path) -> None:
    cached = RobotDataset(video_folder, chunk=1)
    plain = RobotDataset(video_folder, chunk=1, options=ReaderOptions(cache_gib=0))
    for index in (20, 3, 11, 12):
        np.testing.assert_array_equal(cached[index][IMAGE_KEYS[1]], plain[index][IMAGE_KEYS[1]])


def test_worker_processes_give_the_same_samples(robot_folder: Path) -> None:
    """Spawned workers receive the dataset pickled: without its pictures."""
    dataset = RobotDataset(robot_folder, chunk=4)
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for index, sample in enumerate(loader):
        np.testing.assert_array_equal(sample[IMAGE_KEYS[0]], dataset[index][IMAGE_KEYS[0]])
        np.testing.assert_array_equal(sample[ACTION_KEY], dataset[index][ACTION_KEY])


def test_several_datasets_are_read_as_one(learning_data: ModuleType, robot_folder: Path, tmp_path: Path) -> None:
    other = learning_data.write_robot_data(tmp_path / "other", lengths=(5,))
    first, second = RobotDataset(robot_folder, chunk=8), RobotDataset(other, chunk=8)
    both = RobotDataset([robot_folder, other], chunk=8)
    assert (len(both), both.num_episodes) == (len(first) + len(second), 3)
    for index, wanted in ((0, first[0]), (20, first[20]), (21, second[0]), (25, second[4])):
        for key, value in wanted.items():
            np.testing.assert_array_equal(both[index][key], value)
    assert both[20][ACTION_IS_PAD_KEY].tolist() == [False] + [True] * 7, "a chunk ends with its dataset"


def test_statistics_are_those_of_the_frames_that_are_read(
    learning_data: ModuleType, robot_folder: Path, tmp_path: Path
) -> None:
    other = learning_data.write_robot_data(tmp_path / "other", lengths=(5, 30))
    sets = [RobotDataset(robot_folder, chunk=1), RobotDataset(other, chunk=1)]
    actions = np.concatenate([[d[i][ACTION_KEY][0] for i in range(len(d))] for d in sets]).astype(np.float64)
    pooled = RobotDataset([robot_folder, other], chunk=8).norm_stats.features[ACTION_KEY]
    np.testing.assert_allclose(pooled.q99, np.quantile(actions, 0.99, axis=0))
    np.testing.assert_allclose(pooled.std, actions.std(0))
    part = RobotDataset(other, chunk=8, options=ReaderOptions(episodes=(1,))).norm_stats.features[ACTION_KEY]
    np.testing.assert_allclose(part.q01, np.quantile(actions[26:], 0.01, axis=0))


def test_cameras_under_other_names(robot_folder: Path) -> None:
    """One camera only, and the two of them exchanged."""
    plain = RobotDataset(robot_folder, chunk=2)
    one = RobotDataset(robot_folder, chunk=2, options=ReaderOptions(cameras={"image": "image2"}))
    assert one.image_keys == (IMAGE_KEYS[0],)
    np.testing.assert_array_equal(one[4][IMAGE_KEYS[0]], plain[4][IMAGE_KEYS[1]])
    exchanged = {IMAGE_KEYS[1]: IMAGE_KEYS[0], "image": "observation.images.image2"}
    two = RobotDataset(robot_folder, chunk=2, options=ReaderOptions(cameras=exchanged))
    assert two.image_keys == IMAGE_KEYS[::-1]
    np.testing.assert_array_equal(two[4][IMAGE_KEYS[1]], plain[4][IMAGE_KEYS[0]])


def test_episodes_to_use_and_to_skip(robot_folder: Path) -> None:
    everything = RobotDataset(robot_folder, chunk=8)
    without_first = RobotDataset(robot_folder, chunk=8, options=ReaderOptions(skip=(0,)))
    assert (len(without_first), without_first.num_episodes) == (9, 1)
    np.testing.assert_array_equal(without_first[3][IMAGE_KEYS[0]], everything[15][IMAGE_KEYS[0]])
    np.testing.assert_array_equal(without_first[3][ACTION_KEY], everything[15][ACTION_KEY])


def refused(folder: Path | list, message: str, **options: object) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        RobotDataset(folder, chunk=8, options=ReaderOptions(**options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_options_that_do_not_fit_the_data(robot_folder: Path) -> None:
    refused(robot_folder, r"no episode 7, expected 0 to 1", episodes=(0, 7))
    refused(robot_folder, r"no episode 2, expected 0 to 1", skip=(2,))
    refused(robot_folder, r"no episode is left to read", skip=(0, 1))
    refused([robot_folder, robot_folder], r"choose from one dataset, 2 were given", episodes=(0,))
    refused([], r"no dataset was given")
    found = r"found observation.images.image, observation.images.image2"
    refused(robot_folder, rf"no camera 'front', {found}: name it with .*{{image: NAME}}", cameras={"image": "front"})
    refused(robot_folder, rf"no camera 'top', {found}: name it with .*{{top: NAME}}", cameras={"top": "top"})
    refused(robot_folder, r"unknown data.reader.gripper 'one_opn': did you mean 'one_open'", gripper="one_opn")


def test_another_action_size_is_refused(learning_data: ModuleType, tmp_path: Path) -> None:
    refused(learning_data.write_robot_data(tmp_path / "six", action_dim=6), "action has 6 numbers, expected 7")


def test_another_frame_rate_is_refused_unless_stated(learning_data: ModuleType, tmp_path: Path) -> None:
    folder = learning_data.write_robot_data(tmp_path / "slow", fps=10)
    refused(folder, r"10 frames a second, expected 20: .* data.reader.recorded_fps=20 if the label is wrong")
    assert len(RobotDataset(folder, chunk=8, options=ReaderOptions(recorded_fps=20))) == 21


@pytest.fixture
def copy(robot_folder: Path, tmp_path: Path) -> Path:
    """A dataset to damage."""
    return Path(shutil.copytree(robot_folder, tmp_path / "copy"))


def edit(folder: Path, name: str, change: dict) -> None:
    path = folder / "meta" / name
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | change))


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    refused(tmp_path, r"is no LeRobot dataset: meta/info.json is missing")
    refused(tmp_path / "nowhere", r"no dataset folder '.*nowhere': give a folder made by .* or a hub name")


def test_unknown_and_incomplete_layouts(copy: Path) -> None:
    edit(copy, "info.json", {"codebase_version": "v1.6"})
    refused(copy, r"LeRobot format v1.6, expected v3.0, v2.1, v2.0")
    edit(copy, "info.json", {"codebase_version": "v2.0"})
    refused(copy, r"meta/episodes.jsonl is missing")
    (copy / "meta" / "info.json").write_text('{"codebase_version": "v3.0", "fps": 20}')
    refused(copy, r"meta/info.json has no 'features'")
    (copy / "meta" / "info.json").write_text("{")
    refused(copy, r"info.json' is not JSON")


def test_another_gripper_convention_is_refused(copy: Path) -> None:
    edit(copy, "vst_vla.json", {"action_spec": {"gripper": "0 close, 1 open"}})
    refused(copy, r"gripper is '0 close, 1 open', expected '-1 open, \+1 close'")


def change_column(folder: Path, name: str, change: object) -> None:
    """Rewrites one column of the data file: `change` edits its list of values."""
    (path,) = (folder / "data").rglob("*.parquet")
    table = pq.read_table(path)
    values = table[name].to_pylist()
    change(values)  # type: ignore[operator]
    changed = pa.array(values, type=table.schema.field(name).type)
    pq.write_table(table.set_column(table.schema.get_field_index(name), table.schema.field(name), changed), path)


def test_unlabelled_gripper_commands_from_0_to_1_are_refused_unless_stated(copy: Path) -> None:
    ours = RobotDataset(copy, chunk=1)
    change_column(copy, ACTION_KEY, lambda rows: [row.__setitem__(6, i % 2) for i, row in enumerate(rows)])
    refused(copy, r"gripper in action goes from 0 to 1, expected -1 \(open\) to 1 \(close\): give data.reader.gripper=")
    for stated, sign in (("one_open", -1), ("zero_open", 1)):
        read = RobotDataset(copy, chunk=1, options=ReaderOptions(gripper=stated))
        assert [read[i][ACTION_KEY][0, 6] for i in range(4)] == [-sign, sign, -sign, sign]
        np.testing.assert_array_equal(read[3][ACTION_KEY][0, :6], ours[3][ACTION_KEY][0, :6])


def test_a_nan_is_named_with_its_frame(copy: Path) -> None:
    change_column(copy, ACTION_KEY, lambda rows: rows[14].__setitem__(3, float("nan")))
    refused(copy, r"action of episode 1, frame 2 holds a NaN")
    assert len(RobotDataset(copy, chunk=8, options=ReaderOptions(skip=(1,)))) == 12


def test_broken_pictures_are_named(copy: Path) -> None:
    change_column(copy, IMAGE_KEYS[0], lambda rows: rows.__setitem__(5, {"bytes": b"no picture", "path": None}))
    refused(copy, r"row 5 of '.*parquet' has a picture that cannot be decoded")
    change_column(copy, IMAGE_KEYS[0], lambda rows: rows.__setitem__(5, {"bytes": None, "path": "5.png"}))
    refused(copy, r"row 5 of '.*parquet' has no picture")


def test_another_picture_size_is_named(learning_data: ModuleType, copy: Path) -> None:
    small = learning_data.png(np.zeros((32, 32, 3), np.uint8))
    change_column(copy, IMAGE_KEYS[0], lambda rows: rows.__setitem__(5, {"bytes": small, "path": None}))
    refused(copy, r"row 5 .* a picture of shape \(32, 32, 3\), expected \(64, 64, 3\)")


def test_missing_and_short_data_files(copy: Path) -> None:
    (path,) = (copy / "data").rglob("*.parquet")
    whole = path.read_bytes()
    pq.write_table(pq.read_table(path).slice(0, 15), path)
    refused(copy, r"holds 3 frames of episode 1, expected 9")
    path.write_bytes(whole[: len(whole) // 2])
    refused(copy, r"is no parquet file, or was cut short")
    path.unlink()
    refused(copy, r"file-000.parquet' is missing: download it again")
