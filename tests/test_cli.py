"""The command line: help on every verb, near-miss hints, one-line errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vst_vla.scripts.cli import VERBS, main
from vst_vla.scripts.config import compose
from vst_vla.scripts.stages import overrides


def test_without_a_verb_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(verb in listed for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: vst-vla {verb}")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rolout"], "unknown verb 'rolout': did you mean 'rollout'?"),
        (["demos", "out=x", "num_episode=3"], "unknown key 'num_episode' for demos: did you mean 'num_episodes'?"),
        (["train", "recipe.learning_rat=1"], "did you mean 'recipe.learning_rate'?"),
        (["train", "backbone=vst-3b-stf"], "unknown backbone 'vst-3b-stf': did you mean 'vst-3b-sft'?"),
        (["train", "steps"], "cannot read 'steps': give key=value"),
        (["train", "recipe.history=[0]", "data.robot={tmp}"], "history is [0], expected control steps before"),
        (["train", "out=x"], "nothing to train on: give data.robot=FOLDER"),
        (["demos"], "give out="),
        (["demos", "out=x", "suite=libero_objects"], "unknown suite 'libero_objects': did you mean 'libero_object'?"),
        (["demos", "out=x", "task_ids=[10]"], "task_id 10 is out of range: libero_object has tasks 0 to 9"),
        (["rollout"], "give checkpoint=DIR"),
        (["rollout", "checkpoint=nowhere"], "no checkpoint folder at 'nowhere'"),
        (["rollout", "policy=zero", "init_states=[50]", "out={tmp}"], "init_state 50 is out of range"),
        (["rollout", "policy=zero", "task_ids=[11]", "out={tmp}"], "task_id 11 is out of range"),
        (["rollout", "policy=zero", "protocol=openvlla"], "unknown protocol 'openvlla': did you mean 'openvla'?"),
        (["rollout", "policy=zero", "vary=[robots]", "out={tmp}"], "unknown axis 'robots': did you mean 'robot'?"),
        (["rollout", "policy=server"], "give address=ws://HOST:PORT"),
        (["rollout", "policy=replay"], "give data=DIR"),
        (["rollout", "policy=lerobot"], "give checkpoint=DIR, a policy folder of LeRobot's"),
        (["rollout", "compare=[{tmp}]"], "names 1 runs: give two folders, compare=[A,B]"),
        (["rollout", "compare=[{tmp},{tmp}]"], "holds no records.jsonl with episodes"),
        (["rollout", "merge=[{tmp}]", "out={tmp}/all"], "holds no records.jsonl with episodes"),
        (["train", "data.robot={tmp}", "out={tmp}/run"], "is no LeRobot dataset"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [a.replace("{tmp}", str(tmp_path)) for a in arguments]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_the_installed_command_runs() -> None:
    done = subprocess.run([Path(sys.executable).with_name("vst-vla")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "usage: vst-vla VERB" in done.stdout


def test_programs_that_are_no_verbs_speak_the_same_way() -> None:
    command = [sys.executable, "-m", "vst_vla.scripts.drive", "robot=ws://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("drive: no robot at ws://127.0.0.1:9")
    assert done.stderr.count("\n") == 1


def test_nested_settings_become_overrides_and_come_back() -> None:
    settings = {"out": "x", "task_ids": [3], "video": True, "families": {"detection": 1.0}}
    flat = overrides(settings)
    assert flat == ["out=x", "task_ids=[3]", "video=true", "families.detection=1.0"]
    assert overrides({"a": None, "b": False}) == ["a=null", "b=false"]
    config = compose("demos", ["out=x", *overrides({"task_ids": [3], "video": True})])
    assert config["task_ids"] == [3]
    assert config["video"] is True
