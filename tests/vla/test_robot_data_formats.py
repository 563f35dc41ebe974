"""The published datasets' own layouts: what they hold comes out in our keys and conventions."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from huggingface_hub import HfApi

from vst_vla.vla.contracts import ACTION_IS_PAD_KEY, ACTION_KEY, IMAGE_KEYS, STATE_KEY, TASK_KEY
from vst_vla.vla.data.robot import ReaderOptions, RobotDataset


@pytest.fixture(scope="module")
def pi_folder(learning_data: ModuleType, old_layouts: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = old_layouts.write_pi_layout(tmp_path_factory.mktemp("pi") / "libero", png=learning_data.png)
    return folder


@pytest.fixture(scope="module")
def no_noops_folder(old_layouts: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = old_layouts.write_no_noops_layout(tmp_path_factory.mktemp("no_noops") / "libero")
    return folder


def check_content(dataset: RobotDataset, old_layouts: ModuleType, *, tolerance: int) -> None:
    """All frames of both episodes against what was written."""
    assert (len(dataset), dataset.num_episodes) == (21, 2)
    for index in range(21):
        number, t = (0, index) if index < 12 else (1, index - 12)
        sample, length = dataset[index], (12, 9)[number]
        wanted = old_layouts.actions(length, number)
        np.testing.assert_array_equal(sample[ACTION_KEY], wanted[np.minimum(t + np.arange(8), length - 1)])
        np.testing.assert_array_equal(sample[ACTION_IS_PAD_KEY], t + np.arange(8) >= length)
        np.testing.assert_array_equal(sample[STATE_KEY], old_layouts.states(length, number)[t])
        assert sample[TASK_KEY] == f"do task {number}"
        for key, wrist in zip(IMAGE_KEYS, (False, True), strict=True):
            difference = sample[key].astype(int) - old_layouts.grey(number, t, wrist=wrist)
            assert np.abs(difference).max() <= tolerance


def test_v2_0_with_pictures_in_parquet(
    pi_folder: Path, old_layouts: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = RobotDataset(pi_folder, chunk=8)
    check_content(dataset, old_layouts, tolerance=0)
    assert "is labelled 10 Hz; LIBERO recorded it at 20 Hz" in caplog.text
    actions = np.concatenate([old_layouts.actions(12, 0), old_layouts.actions(9, 1)]).astype(np.float64)
    np.testing.assert_allclose(dataset.norm_stats.features[ACTION_KEY].q99, np.quantile(actions, 0.99, axis=0))


def test_v2_1_with_a_video_an_episode_and_an_inverted_gripper(
    no_noops_folder: Path, old_layouts: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_content(RobotDataset(no_noops_folder, chunk=8), old_layouts, tolerance=1)
    assert "gripper commands 1 open, 0 close" in caplog.text


def test_both_together(pi_folder: Path, no_noops_folder: Path) -> None:
    both = RobotDataset([pi_folder, no_noops_folder], chunk=8)
    assert len(both) == 42
    np.testing.assert_array_equal(both[5][ACTION_KEY], both[26][ACTION_KEY])


def test_the_published_set_may_be_labelled_10_hz_in_any_format(robot_folder: Path, tmp_path: Path) -> None:
    """Known by its number of episodes and frames, as HuggingFaceVLA/libero; no other set may be."""
    folder = Path(shutil.copytree(robot_folder, tmp_path / "copy"))
    path = folder / "meta" / "info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps(info | {"fps": 10.0, "total_episodes": 1693, "total_frames": 273465}))
    assert len(RobotDataset(folder, chunk=8)) == 21
    path.write_text(json.dumps(info | {"fps": 10.0, "total_episodes": 1692, "total_frames": 273465}))
    with pytest.raises(ValueError, match="10 frames a second, expected 20"):
        RobotDataset(folder, chunk=8)


def test_an_old_layout_at_another_rate_is_refused(no_noops_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(no_noops_folder, tmp_path / "copy"))
    path = folder / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fps": 5}))
    with pytest.raises(ValueError, match="5 frames a second, expected 20"):
        RobotDataset(folder, chunk=8)


def test_missing_and_short_videos_are_named_and_can_be_skipped(
    no_noops_folder: Path, old_layouts: ModuleType, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(no_noops_folder, tmp_path / "copy"))
    path = folder / old_layouts.VIDEO.format(episode_chunk=0, video_key=IMAGE_KEYS[0], episode_index=1)
    old_layouts._write_video(path, [old_layouts.grey(1, t, wrist=False) for t in range(5)], fps=20)
    with pytest.raises(ValueError, match=r"episode_000001.mp4' has no frame at 0.25 s: .*data.reader.skip"):
        RobotDataset(folder, chunk=8)
    path.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"episode_000001.mp4' cannot be decoded"):
        RobotDataset(folder, chunk=8)
    path.unlink()
    with pytest.raises(ValueError, match=r"episode_000001.mp4' is missing: .*data.reader.skip"):
        RobotDataset(folder, chunk=8)
    assert len(RobotDataset(folder, chunk=8, options=ReaderOptions(skip=(1,)))) == 12


def test_hub_names_are_fetched(pi_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub is out of reach here: its cache, laid out as the hub's client does, stands for it."""
    snapshot = tmp_path / "datasets--someone--libero" / "snapshots" / ("0" * 40)
    shutil.copytree(pi_folder, snapshot)
    (tmp_path / "datasets--someone--libero" / "refs").mkdir()
    (tmp_path / "datasets--someone--libero" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("vst_vla.vla.hub.CACHE", str(tmp_path))
    monkeypatch.setattr(HfApi, "repo_info", unreachable)
    assert len(RobotDataset("someone/libero", chunk=8)) == 21
    with pytest.raises(ValueError, match=r"cannot fetch 'someone/else' from the hub .* pass a local dataset folder"):
        RobotDataset("someone/else", chunk=8)


def unreachable(*_: object, **__: object) -> None:
    raise OSError("no network")


def test_a_mistyped_folder_does_not_go_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    monkeypatch.setattr(HfApi, "repo_info", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(ValueError, match="no dataset folder 'outputs/demoz'"):
        RobotDataset("outputs/demoz", chunk=8)
