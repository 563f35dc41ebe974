"""What a policy run or a checkpoint refuses, in one line each, before anything is trained or moved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from vst_vla.scripts.cli import main
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.run import train

PARALLEL: dict[str, Any] = {"name": "parallel", "chunk": 8}


def refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def checkpoint(learning_data: ModuleType, robot_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("policy")
    return train(out, recipe=learning_data.small_recipe(steps=1, image_size=28), head=PARALLEL, robot=robot_folder)


def test_a_checkpoint_asked_for_with_another_head(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for head, message in (
        ({"name": "tokens"}, r"the checkpoint has head 'parallel', not 'tokens': leave head.name out"),
        ({"name": "flow", "steps": 4}, r"the checkpoint has head 'parallel', not 'flow'"),
        ({"name": "paralel"}, r"unknown head 'paralel': did you mean 'parallel'"),
        ({"chunk": 4}, r"option chunk of head parallel is fixed by training at 8, got 4"),
    ):
        refused(lambda head=head: VLAModel.load(checkpoint, head=head), message)
    assert VLAModel.load(checkpoint, head={"name": "parallel"}).spec is not None
    capsys.readouterr()  # how loading went
    assert main(["rollout", f"checkpoint={checkpoint}", "policy.head={name: tokens}"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "the checkpoint has head 'parallel', not 'tokens'" in told[0]


def test_a_checkpoint_whose_file_says_another_head(checkpoint: Path, tmp_path: Path) -> None:
    """Weights of one head under the name of another never load."""
    folder = Path(shutil.copytree(checkpoint, tmp_path / "changed"))
    content = json.loads((folder / "vst_vla.json").read_text())
    (folder / "vst_vla.json").write_text(json.dumps(content | {"head": {"name": "tokens", "chunk": 8}}))
    refused(lambda: VLAModel.load(folder), r"head.safetensors' has shape .* for 'head\.\w+.*, expected .*: copy it")


class Trainable:
    """Runs that would train if their data were fit."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.recipe, self.out = recipe, out

    def refused(self, message: str, **given: Any) -> None:
        """Raises nothing but one line, and leaves no checkpoint."""
        settings = {"recipe": self.recipe, "head": PARALLEL, "overwrite": True, **given}
        refused(lambda: train(self.out, **settings), message)
        assert not (self.out / "model").exists()
        assert not list((self.out / "run").glob("checkpoint-*"))


@pytest.fixture
def run(learning_data: ModuleType, tmp_path: Path) -> Trainable:
    return Trainable(learning_data.small_recipe(steps=1, image_size=28), tmp_path / "run")


def test_a_chunk_longer_than_every_episode(run: Trainable, robot_folder: Path) -> None:
    """One longer than some is padding there (see test_heads.py); its end must be learnt somewhere."""
    assert RobotDataset(robot_folder, chunk=1).longest_episode == 12
    expected = r"head.chunk is 13, the longest episode has 12 frames, .*: set head.chunk=12 or less"
    run.refused(expected, robot=robot_folder, head=PARALLEL | {"chunk": 13})
    assert train(run.out, recipe=run.recipe, head=PARALLEL | {"chunk": 12}, robot=robot_folder, overwrite=True).is_dir()


def test_actions_of_another_width(run: Trainable, learning_data: ModuleType, tmp_path: Path) -> None:
    folder = learning_data.write_robot_data(tmp_path / "six", action_dim=6)
    run.refused("action has 6 numbers, expected 7", robot=folder)


def test_empty_sources(run: Trainable, robot_folder: Path, question_folder: Path, tmp_path: Path) -> None:
    """The demonstrations, the questions, and one of several sets of questions."""
    (table,) = question_folder.glob("*.parquet")
    empty = tmp_path / "empty"
    empty.mkdir()
    pq.write_table(pq.read_table(table).slice(0, 0), empty / "a.parquet")
    run.refused("no usable row in .*empty/a.parquet", robot=robot_folder, spatial=empty)
    run.refused("no usable row in .*empty", robot=robot_folder, spatial=[question_folder, empty], weights=[3, 1])
    nothing = Path(shutil.copytree(robot_folder, tmp_path / "nothing"))
    (episodes,) = (nothing / "meta" / "episodes").rglob("*.parquet")
    pq.write_table(pq.read_table(episodes).slice(0, 0), episodes)
    run.refused("holds no episode: the dataset is empty, make it again", robot=nothing, spatial=question_folder)


def test_a_gripper_that_means_something_else_than_the_environments(
    run: Trainable, robot_folder: Path, tmp_path: Path
) -> None:
    """Both conventions are named; the policy against the environment: tests/policies/test_picture_memory.py."""
    other = Path(shutil.copytree(robot_folder, tmp_path / "other"))
    (other / "meta" / "vst_vla.json").write_text(json.dumps({"action_spec": {"gripper": "0 close, 1 open"}}))
    run.refused(r"gripper is '0 close, 1 open', expected '-1 open, \+1 close': data and policy must agree", robot=other)
