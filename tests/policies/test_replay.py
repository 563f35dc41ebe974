"""The HDF5 door: files in LIBERO's layout, made from the expert's episodes, replayed; and bad files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.suites import get_task, init_state
from vst_vla.policies.demo_dataset import read_record
from vst_vla.policies.demo_episode import EpisodeJob, record
from vst_vla.policies.hdf5 import StoredDemo, read_demos
from vst_vla.policies.recording import Failure, Recording
from vst_vla.policies.replay import ReplayJob, make_replays, replay
from vst_vla.scripts.demos import main
from vst_vla.vla.contracts import ACTION_KEY, STATE_KEY, STILL_ACTION, Array

TASK = get_task("libero_object", task_id=0)
NAME = f"{TASK.name}_demo.hdf5"
STILL = np.array(STILL_ACTION)


def write_file(path: Path, demos: list[tuple[Array, Array]]) -> Path:
    """(first state, actions) of each demonstration -> a file in the layout of LIBERO's create_dataset.py."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        info = {"problem_name": "libero_floor_manipulation", "language_instruction": TASK.language}
        data.attrs.update({"env_name": "Libero_Floor_Manipulation", "problem_info": json.dumps(info)})
        data.attrs.update({"bddl_file_name": TASK.bddl_file.name, "num_demos": len(demos), "tag": "libero-v1"})
        data.attrs.update({"macros_image_convention": "opengl", "total": sum(len(actions) for _, actions in demos)})
        for number, (state, actions) in enumerate(demos):
            group, steps = data.create_group(f"demo_{number}"), len(actions)
            group.attrs.update({"num_samples": steps, "model_file": "<mujoco/>", "init_state": state})
            group["actions"], group["states"] = actions, np.tile(state, (steps, 1))
            group["robot_states"], group["rewards"] = np.zeros((steps, 9)), np.zeros(steps, np.uint8)
            group["dones"] = np.zeros(steps, np.uint8)
            for name, width in (("ee_pos", 3), ("ee_ori", 3), ("gripper_states", 2), ("joint_states", 7)):
                group[f"obs/{name}"] = np.zeros((steps, width))
            for camera in ("agentview_rgb", "eye_in_hand_rgb"):
                group[f"obs/{camera}"] = np.zeros((steps, 8, 8, 3), np.uint8)
    return path


def some_demo(steps: int = 5) -> tuple[Array, Array]:
    return np.array(init_state(TASK, index=20)), np.tile(STILL, (steps, 1))


@pytest.fixture(scope="module")
def episode() -> Recording:
    """A clean expert's."""
    env = LiberoEnv("libero_object", task_id=0, images=False)
    found = record(env, EpisodeJob(task_id=0, number=1, seed=0, noise=0.0, image_size=32))
    env.close()
    assert isinstance(found, Recording)
    return found


@pytest.fixture(scope="module")
def folder(episode: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file: the expert's episode with idle steps put in, one that never moves, and the episode once more."""
    assert episode.init_state == 21
    idle = np.concatenate([STILL[None], episode.actions[:30], episode.actions[29:30] * [0, 0, 0, 0, 0, 0, 1]])
    good = np.concatenate([idle, episode.actions[30:]])
    state = np.array(init_state(TASK, index=21))
    folder = tmp_path_factory.mktemp("official")
    write_file(folder / NAME, [(state, good), some_demo(60), (state, episode.actions)])
    return folder


@pytest.mark.sim
def test_a_replay_leaves_out_idle_steps_and_ends_as_the_episode_did(folder: Path, episode: Recording) -> None:
    env = LiberoEnv("libero_object", task_id=0, images=False)
    first, still, again = (replay(env, ReplayJob(demo=demo, image_size=32)) for demo in read_demos(folder))
    env.close()
    for found in (first, again):
        assert isinstance(found, Recording)
        np.testing.assert_array_equal(found.actions, episode.actions)
        assert found.steps == len(episode.actions)
        assert found.task == TASK.language
    assert episode.steps == len(episode.actions)
    np.testing.assert_array_equal(again.states, episode.states)
    assert again.images == episode.images
    assert isinstance(still, Failure)
    assert still.reason == f"{NAME}/demo_1 does not reach the goal"


@pytest.mark.sim
def test_the_data_set_holds_the_successes_and_counts_the_rest(
    folder: Path, episode: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as pq

    out = tmp_path / "out"
    assert main([f"hdf5={folder}", f"out={out}", "image_size=32"]) == 0
    assert "2 episodes" in (said := capsys.readouterr()).out
    assert "replay success 67%" in said.out
    assert "task 0 3/3, 1 failed" in said.err
    made = read_record(out)
    assert (made["dropped"], made["tasks"]) == (1, {"0": TASK.language})
    assert [line["source"] for line in made["episodes"]] == [f"{NAME}/demo_0", f"{NAME}/demo_2"]
    table = pq.read_table(out / "data" / "chunk-000" / "file-000.parquet")
    np.testing.assert_array_equal(np.stack(table[ACTION_KEY].to_numpy()), np.tile(episode.actions, (2, 1)))
    assert np.stack(table[STATE_KEY].to_numpy()).shape[1] == 8
    assert make_replays(hdf5=folder, out=out, image_size=32).reused
    write_file(folder / NAME, [some_demo()])
    with pytest.raises(ValueError, match=r"exists with hdf5_content=.*overwrite=true"):
        make_replays(hdf5=folder, out=out, image_size=32)


@pytest.mark.sim
def test_a_task_of_which_nothing_succeeds(tmp_path: Path) -> None:
    write_file(tmp_path / NAME, [some_demo(12)])
    message = r"1 of 1 tasks failed: task 0 '.*': 0 of 1 episodes succeeded; .*demo_0 does not reach the goal"
    with pytest.raises(ValueError, match=message):
        make_replays(hdf5=tmp_path, out=tmp_path / "out", image_size=32, num_workers=1)
    assert (tmp_path / "out.partial" / "failures" / "episode-000000.json").is_file()


@pytest.mark.sim
def test_a_state_of_another_scene_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    write_file(tmp_path / NAME, [(np.zeros(45), some_demo()[1])])
    with pytest.raises(ValueError, match=r"state has shape \(45,\), expected"):
        make_replays(hdf5=tmp_path, out=tmp_path / "out", image_size=32, num_workers=1)


def test_demonstrations_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_file(tmp_path / NAME, [some_demo(1 + number) for number in range(12)])
    found = read_demos(tmp_path)
    assert [len(demo.actions) for demo in found] == list(range(1, 13))
    assert isinstance(found[10], StoredDemo)
    assert found[10].source == f"{NAME}/demo_10"


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_hdf5(path: Path) -> None:
    path.write_text("a web page that says the file has moved")


def replaced(name: str, values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file["data/demo_0"][name]
            if values is not None:
                file[f"data/demo_0/{name}"] = values

    return change


def without_demos(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["data"]


WITH_NAN = np.where(np.arange(7) == 2, np.nan, np.tile(STILL, (5, 1)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_short, "cannot be read .*truncated.*copy or download it again"),
        (no_hdf5, "cannot be read .*copy or download it again"),
        (without_demos, "has no groups data/demo_0, data/demo_1, …: expected one of LIBERO's own files"),
        (replaced("actions", None), "data/demo_0 has no 'actions' of shape"),
        (replaced("states", None), "data/demo_0 has no 'states' of shape"),
        (replaced("actions", np.zeros((5, 6))), r"data/demo_0: action has shape \(5, 6\), expected \(..., 7\)"),
        (replaced("actions", WITH_NAN), "data/demo_0: action holds a NaN or infinity in 'dz'"),
        (replaced("actions", np.full((5, 7), 3.0)), "action 'dx' is 3, expected -1 to 1"),
        (replaced("states", np.full((5, 9), np.inf)), "its first state holds a NaN or infinity"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(write_file(tmp_path / NAME, [some_demo()]))
    with pytest.raises(ValueError, match=message) as error:
        make_replays(hdf5=tmp_path, out=tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.partial").exists()


def test_folders_that_hold_no_suite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no file named <task>_demo.hdf5"):
        read_demos(tmp_path)
    write_file(tmp_path / NAME, [some_demo()])
    write_file(tmp_path / f"{get_task('libero_goal', task_id=1).name}_demo.hdf5", [some_demo()])
    with pytest.raises(ValueError, match="holds files of libero_goal and libero_object: give a folder with one suite"):
        read_demos(tmp_path)
    write_file(tmp_path / NAME.replace("soup", "soap"), [some_demo()])
    with pytest.raises(ValueError, match="is named after no LIBERO task: did you mean 'pick_up_the_alphabet_soup"):
        read_demos(tmp_path)


def test_keys_of_the_expert_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"noise= is for the expert; hdf5= replays every file"):
        main([f"hdf5={tmp_path}", f"out={tmp_path / 'out'}", "noise=0.5"])
