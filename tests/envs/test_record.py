"""The episode log: survives kills, resumes, and refuses what does not belong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vst_vla.envs.record import EpisodeRecord, RecordFile, RunIdentity

RUN = RunIdentity(
    suite="libero_object",
    policy="vla",
    checkpoint="abc",
    assets="placeholder",
    protocol="vst_vla",
    seed=0,
    env_seed=0,
    image_size=128,
    execute=8,
    max_steps=280,
    settle_steps=10,
)
RECORD = EpisodeRecord(
    run=RUN, task_id=0, task="pick up the “soup”", init_state=0, success=True, num_steps=120, wall_s=1.5
)


def filled(path: Path, *, count: int = 3) -> RecordFile:
    file = RecordFile(path / "run" / "records.jsonl")
    for index in range(count):
        file.append(replace(RECORD, init_state=index))
    return file


def test_round_trip(tmp_path: Path) -> None:
    file = filled(tmp_path)
    assert file.read() == [replace(RECORD, init_state=index) for index in range(3)]
    assert len(file.path.read_text().splitlines()) == 3


def test_no_file_is_no_records(tmp_path: Path) -> None:
    assert RecordFile(tmp_path / "records.jsonl").read() == []


@pytest.mark.parametrize("lost", [1, 2, 40, 200])
def test_a_torn_last_line_is_ignored_and_the_next_append_repairs_it(tmp_path: Path, lost: int) -> None:
    file = filled(tmp_path)
    file.path.write_bytes(file.path.read_bytes()[:-lost])
    assert [record.init_state for record in file.read()] == [0, 1]
    file.append(replace(RECORD, init_state=7))
    assert [record.init_state for record in file.read()] == [0, 1, 7]
    assert file.path.read_bytes().endswith(b"\n")


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    file = filled(tmp_path)
    lines = file.path.read_text().splitlines()
    lines[1] = lines[1][:20]
    file.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"line 2 of .*records.jsonl is no episode record") as caught:
        file.read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["[1]", "{}", RECORD.to_json().replace('"success"', '"won"')])
def test_other_json_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=r"line 1 of .*fields differ: .*success"):
        RecordFile(path).read()


def test_an_episode_that_broke_is_replaced_by_its_repetition(tmp_path: Path) -> None:
    file = filled(tmp_path, count=1)
    file.append(replace(RECORD, init_state=1, success=False, error="the process died"))
    file.append(replace(RECORD, init_state=1))
    assert [(r.init_state, r.success, r.error) for r in file.read()] == [(0, True, ""), (1, True, "")]


def test_a_second_record_of_an_episode_is_refused(tmp_path: Path) -> None:
    file = filled(tmp_path)
    varied = replace(RECORD, init_state=1, axes=("camera", "light"), strength=0.5, perturbation={"light": {"k": 3.0}})
    file.append(varied)
    assert file.read()[-1] == varied, "another scene is another episode"
    file.append(varied)
    with pytest.raises(ValueError, match=r"line 5 of .* repeats task 0, state 1, camera\+light 0.5: remove one"):
        file.read()


def test_two_processes_cannot_write_into_one_folder(tmp_path: Path) -> None:
    file = filled(tmp_path)
    code = f"""
from pathlib import Path
from vst_vla.envs.record import RecordFile
try:
    with RecordFile(Path({str(file.path)!r})).hold(): print("held")
except ValueError as error: print(error)
"""
    with file.hold():
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "another process writes to" in told.stdout
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["records.jsonl"]


def test_resume_skips_what_is_done_and_repeats_what_broke(tmp_path: Path) -> None:
    file = filled(tmp_path, count=2)
    file.append(replace(RECORD, init_state=2, success=False, error="FatalError: unstable"))
    assert [record.init_state for record in file.resume(RUN)] == [0, 1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("policy", "zero"),
        ("checkpoint", "def"),
        ("seed", 1),
        ("assets", "official"),
        ("max_steps", 20),
        ("protocol", "openpi"),
    ],
)
def test_another_configuration_is_one_line(tmp_path: Path, key: str, value: object) -> None:
    message = f"holds episodes with {key}=.*, this run has {key}={value}: use another"
    with pytest.raises(ValueError, match=message) as caught:
        filled(tmp_path).resume(replace(RUN, **{key: value}))
    assert "\n" not in str(caught.value)
