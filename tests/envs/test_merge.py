"""Shards put together: every episode once, of one evaluation only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vst_vla.envs.merge import merge_runs
from vst_vla.envs.record import EpisodeRecord, RecordFile, RunIdentity

RUN = RunIdentity(
    suite="libero_object",
    policy="vla",
    checkpoint="abc",
    assets="stand-in",
    protocol="openvla",
    seed=0,
    env_seed=0,
    image_size=256,
    execute=8,
    max_steps=280,
    settle_steps=10,
)


def record(task_id: int, state: int, **changes: Any) -> EpisodeRecord:
    made = EpisodeRecord(
        run=RUN, task_id=task_id, task="do it", init_state=state, success=True, num_steps=9, wall_s=1.0
    )
    return replace(made, **changes)


def shard(folder: Path, *records: EpisodeRecord) -> Path:
    for one in records:
        RecordFile(folder / "records.jsonl").append(one)
        if one.video:
            (folder / "videos").mkdir(exist_ok=True)
            (folder / one.video).write_bytes(folder.name.encode())
    return folder


def test_shards_become_one_run_with_its_videos(tmp_path: Path) -> None:
    a = shard(tmp_path / "a", record(1, 0, video="videos/x.mp4"), record(0, 1, axes=("light",), strength=0.5))
    b = shard(tmp_path / "b", record(0, 0), record(0, 1, video="videos/y.mp4"))
    merged = merge_runs([a, b], out=tmp_path / "all")
    names = [(r.task_id, r.init_state, r.axes) for r in merged]
    assert names == [
        (0, 0, ()),
        (0, 1, ()),
        (0, 1, ("light",)),
        (1, 0, ()),
    ]
    assert RecordFile(tmp_path / "all" / "records.jsonl").read() == merged
    assert [(tmp_path / "all" / "videos" / name).read_text() for name in ("x.mp4", "y.mp4")] == ["a", "b"]
    with pytest.raises(ValueError, match="holds episodes already"):
        merge_runs([a], out=tmp_path / "all")


def test_an_error_gives_way_to_its_repetition(tmp_path: Path) -> None:
    broken = record(0, 0, success=False, error="the simulator's process died")
    a, b = shard(tmp_path / "a", broken), shard(tmp_path / "b", record(0, 0))
    for number, order in enumerate(([a, b], [b, a])):
        assert merge_runs(order, out=tmp_path / f"all{number}") == [record(0, 0)]


def test_duplicates_are_refused(tmp_path: Path) -> None:
    a, b = shard(tmp_path / "a", record(0, 0)), shard(tmp_path / "b", record(0, 0, success=False))
    with pytest.raises(ValueError, match=r"task 0, state 0 is in '.*a' and in '.*b': leave one of the two out"):
        merge_runs([a, b], out=tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("protocol", "openpi"), ("assets", "official"), ("checkpoint", "def"), ("image_size", 128)]
)
def test_other_evaluations_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    a = shard(tmp_path / "a", record(0, 0))
    b = shard(tmp_path / "b", record(0, 1, run=replace(RUN, **{key: value})))
    with pytest.raises(ValueError, match=f"b holds episodes with {key}={value}, '.*a' has {key}="):
        merge_runs([a, b], out=tmp_path / "all")


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no records.jsonl with episodes"):
        merge_runs([tmp_path], out=tmp_path / "all")
