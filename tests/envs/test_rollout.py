"""Closed-loop runs on the real simulator, in worker processes: the same records however they are run, and resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vst_vla.envs.record import EpisodeRecord
from vst_vla.envs.rollout import _leading_actions, rollout
from vst_vla.envs.rollout_settings import RolloutSettings
from vst_vla.policies.baselines import RandomPolicy, ZeroPolicy
from vst_vla.vla.contracts import IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, TASK_KEY, Observation

SETTINGS = RolloutSettings(
    suite="libero_object",
    task_ids=(0,),
    init_states=(0, 1, 2),
    num_envs=2,
    image_size=64,
    execute=4,
    exact=False,
    max_steps=10,
    num_videos=1,
    video_size=96,
    policy="random",
)


class Watched(RandomPolicy):
    """A random policy that keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(chunk=6)
        self.batches: list[list[Observation]] = []
        self.resets = 0

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Any]]:
        self.batches.append(list(observations))
        return super().infer_batch(observations)

    def reset(self) -> None:
        self.resets += 1


@dataclass(frozen=True)
class Run:
    records: list[EpisodeRecord]
    out: Path
    policy: Watched


def timeless(records: list[EpisodeRecord]) -> list[EpisodeRecord]:
    return [replace(record, wall_s=0.0) for record in records]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out, policy = tmp_path_factory.mktemp("two"), Watched()
    return Run(rollout(policy, settings=SETTINGS, out=out, progress=False), out, policy)


@pytest.mark.sim
def test_every_episode_has_its_record_on_disk(two_workers: Run) -> None:
    lines = [json.loads(line) for line in (two_workers.out / "records.jsonl").read_text().splitlines()]
    assert sorted(line["init_state"] for line in lines) == [0, 1, 2]
    for record in two_workers.records:
        assert (record.success, record.num_steps, record.error) == (False, 10, "")
        assert record.wall_s > 0
        assert record.task == "pick up the alphabet soup and place it in the basket"


@pytest.mark.sim
def test_the_policy_sees_batches_of_running_episodes_in_the_contracts_form(two_workers: Run) -> None:
    sizes = [len(batch) for batch in two_workers.policy.batches]
    assert sizes == [2, 2, 2, 1, 1, 1], "two workers for three chunks, then one alone for three"
    assert two_workers.policy.resets == 1
    observation = two_workers.policy.batches[0][1]
    assert set(observation) == {*IMAGE_KEYS, STATE_KEY, TASK_KEY}
    assert observation[STATE_KEY].shape == (8,)
    assert all(observation[key].shape == (64, 64, 3) and observation[key].std() > 10 for key in IMAGE_KEYS)


@pytest.mark.sim
def test_films_are_on_disk_and_smooth_where_asked(two_workers: Run) -> None:
    facts = []
    for record in two_workers.records:
        with av.open(str(two_workers.out / record.video)) as container:
            stream = container.streams.video[0]
            facts.append((stream.width, sum(1 for _ in container.decode(stream))))
    assert facts == [(96, 10), (64, 4), (64, 4)]
    assert len(list((two_workers.out / "videos").iterdir())) == 3


@pytest.mark.sim
def test_a_stopped_run_goes_on_and_one_worker_gives_the_records_of_two(two_workers: Run, tmp_path: Path) -> None:
    alone = replace(SETTINGS, num_envs=1, exact=True)

    def stop(record: EpisodeRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rollout(Watched(), settings=alone, out=tmp_path, on_episode=stop, progress=False)
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 1
    new: list[EpisodeRecord] = []
    records = rollout(Watched(), settings=alone, out=tmp_path, on_episode=new.append, progress=False)
    assert [record.init_state for record in new] == [1, 2]
    assert timeless(records) == timeless(two_workers.records)


@pytest.mark.sim
def test_a_finished_run_is_only_read(two_workers: Run) -> None:
    policy = Watched()
    assert rollout(policy, settings=SETTINGS, out=two_workers.out, progress=False) == two_workers.records
    assert policy.batches == []


@pytest.mark.sim
@pytest.mark.parametrize(("key", "value"), [("policy", "other"), ("seed", 1), ("image_size", 65), ("max_steps", 9)])
def test_another_configuration_is_refused_before_anything_runs(two_workers: Run, key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"this run has {key}={value}"):
        rollout(Watched(), settings=replace(SETTINGS, **{key: value}), out=two_workers.out, progress=False)


@pytest.mark.sim
def test_zero_policy_over_two_tasks_without_a_folder() -> None:
    settings = replace(SETTINGS, task_ids=(0, 3), init_states=(0,), num_envs=1, policy="zero", max_steps=4)
    records = rollout(ZeroPolicy(chunk=4), settings=settings, progress=False)
    assert [(r.task_id, r.success, r.num_steps, r.video) for r in records] == [(0, False, 4, ""), (3, False, 4, "")]


@pytest.mark.sim
def test_nan_actions_end_the_run_in_one_line(tmp_path: Path) -> None:
    class Broken(ZeroPolicy):
        def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Any]]:
            return [{"actions": np.full((8, 7), np.nan)} for _ in observations]

    settings = replace(SETTINGS, init_states=(0,), num_envs=1)
    with pytest.raises(ValueError, match="NaN or infinity in 'dx'") as caught:
        rollout(Broken(), settings=settings, out=tmp_path, progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "records.jsonl").exists()
    assert list((tmp_path / "videos").glob("*")) == []


def test_other_conventions_are_refused() -> None:
    policy = ZeroPolicy()
    policy.action_spec = replace(LIBERO_ACTION, gripper="0 open, 1 close")
    with pytest.raises(ValueError, match="gripper differs: the policy has '0 open, 1 close'"):
        rollout(policy, settings=SETTINGS)
    policy = ZeroPolicy()
    policy.state_spec = replace(LIBERO_STATE, rotation="quaternion")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="rotation differs: the policy has 'quaternion'"):
        rollout(policy, settings=SETTINGS)


def test_a_chunk_is_cut_and_a_short_one_refused() -> None:
    chunk = np.linspace(-1, 1, 42).reshape(6, 7)
    assert np.array_equal(_leading_actions(chunk, execute=4), chunk[:4])
    with pytest.raises(ValueError, match="the policy returned 6 actions, expected at least 8: set execute=6"):
        _leading_actions(chunk, execute=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suite": "libero_objct"}, "unknown suite 'libero_objct': did you mean 'libero_object'"),
        ({"task_ids": (0, 10)}, "task_id 10 is out of range"),
        ({"init_states": (0, 50)}, "init_state 50 is out of range"),
        ({"task_ids": ()}, "task_ids is empty"),
        ({"init_states": ()}, "init_states is empty"),
        ({"num_envs": 0}, "num_envs is 0, expected at least 1"),
        ({"execute": 0}, "execute is 0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"image_size": 8}, "image_size is 8, expected at least 16"),
        ({"num_videos": -1}, "num_videos is -1, expected at least 0"),
        ({"video": "ful"}, "unknown video mode 'ful': did you mean 'full'"),
    ],
)
def test_bad_settings_are_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        replace(SETTINGS, **change)
    assert "\n" not in str(caught.value)


def test_the_horizon_is_the_suites_at_most() -> None:
    assert replace(SETTINGS, max_steps=None).horizon == replace(SETTINGS, max_steps=999).horizon == 280
