"""Each check of the preview, on numbers that are right and on numbers that are wrong in one way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vst_vla.policies.preview_checks import count_no_ops, frozen_frames, run_checks, summarise_columns
from vst_vla.policies.preview_data import DatasetNumbers, EpisodeSpan
from vst_vla.policies.preview_figures import histogram
from vst_vla.vla.contracts import ACTION_KEY, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, Array
from vst_vla.vla.data.layouts import Entry, Layout

LENGTH = 40


def numbers(episodes: int = 3) -> DatasetNumbers:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.9, 0.9, (episodes * LENGTH, 7)).astype(np.float32)
    actions[:, 6] = np.where(np.arange(len(actions)) % LENGTH < 20, -1, 1)
    spans = tuple(
        EpisodeSpan(
            index=i,
            task="stack",
            start=i * LENGTH,
            stop=(i + 1) * LENGTH,
            entry=Entry(index=i, length=LENGTH, data=Path("data"), clips={}),
            rows=np.arange(LENGTH),
            time=np.arange(LENGTH) / 20,
            made={},
        )
        for i in range(episodes)
    )
    features = {
        STATE_KEY: {"dtype": "float32", "names": list(LIBERO_STATE.names)},
        ACTION_KEY: {"dtype": "float32", "names": {"motors": list(LIBERO_ACTION.names)}},
    }
    stats = {q: np.quantile(actions, float(f"0.{q[1:]}"), axis=0).tolist() for q in ("q01", "q99")}
    return DatasetNumbers(
        layout=Layout(
            folder=Path("demos"),
            info={"fps": 20, "features": features, "total_episodes": episodes, "total_frames": len(actions)},
            tasks={0: "stack"},
            entries=tuple(span.entry for span in spans),
            conventions={},
        ),
        stats=stats,
        vectors={STATE_KEY: rng.normal(size=(len(actions), 8)).astype(np.float32), ACTION_KEY: actions},
        episodes=spans,
    )


def findings(found: DatasetNumbers, **frozen: Any) -> dict[str, str]:
    return {check.name: check.finding for check in run_checks(found, frozen=frozen) if check.finding}


def with_actions(change: Any) -> DatasetNumbers:
    """The numbers after `change` has been at the actions; stored statistics follow."""
    right = numbers()
    actions = right.vectors[ACTION_KEY].copy()
    change(actions)
    stats = {q: np.nanquantile(actions, float(f"0.{q[1:]}"), axis=0).tolist() for q in ("q01", "q99")}
    return replace(right, vectors={**right.vectors, ACTION_KEY: actions}, stats=stats)


def test_right_numbers_have_no_findings() -> None:
    assert findings(numbers()) == {}


def set_nan(actions: Array) -> None:
    actions[45:47, 2] = np.nan


def set_outside(actions: Array) -> None:
    actions[100, 1] = -1.25


def set_clipped(actions: Array) -> None:
    actions[:60, 0] = 1


def set_open(actions: Array) -> None:
    actions[LENGTH : 2 * LENGTH, 6] = -1


def set_other_gripper(actions: Array) -> None:
    actions[:, 6] = (actions[:, 6] + 1) / 2


@pytest.mark.parametrize(
    ("change", "name", "finding"),
    [
        (set_nan, "NaN and infinity", "NaN or infinity in 2 frames of action (dz) in episode 1"),
        (set_outside, "Action range", "1 frames have an action outside -1 to 1, in episode 2"),
        (set_clipped, "Clipped actions", "the action is at the end of its range: dx in 50% of the frames"),
        (set_open, "Gripper", "the gripper never closes in episode 1"),
        (
            set_other_gripper,
            "Gripper",
            "the gripper's command is never below 0, expected -1 open, +1 close",
        ),
    ],
)
def test_each_wrong_action_is_found_alone(change: Any, name: str, finding: str) -> None:
    assert findings(with_actions(change)) == {name: finding}


def test_repeated_episodes_are_found() -> None:
    right = numbers(4)
    vectors = {key: values.copy() for key, values in right.vectors.items()}
    for values in vectors.values():
        values[2 * LENGTH : 3 * LENGTH] = values[:LENGTH]
    found = findings(replace(right, vectors=vectors))
    assert found["Duplicates"] == "the same numbers twice: episode 2 repeats 0"


def saying(right: DatasetNumbers, **info: Any) -> DatasetNumbers:
    return replace(right, layout=replace(right.layout, info={**right.layout.info, **info}))


def test_metadata_that_does_not_fit_the_data_is_found() -> None:
    right = numbers()
    assert findings(saying(right, total_frames=7)) == {
        "Counts": "info.json says 3 episodes and 7 frames, the data holds 3 and 120"
    }
    assert findings(saying(right, fps=10)) == {"Frame rate": "info.json says 10 frames a second, LIBERO runs at 20"}
    failed = replace(right, layout=replace(right.layout, conventions={"failed_tasks": {"3": "never succeeded"}}))
    assert findings(failed) == {"Failed tasks": "task 3 is missing: never succeeded"}
    assert findings(replace(right, stats={})) == {}
    stored = {q: list(values) for q, values in right.stats.items()}
    stored["q99"][4] = 0.5
    text = findings(replace(right, stats=stored))["Stored statistics"]
    assert text.startswith("q99 of action dry is 0.5 in stats.json, 0.8")


def test_other_widths_are_found_and_leave_out_what_needs_ours() -> None:
    right = numbers()
    narrow = replace(right, vectors={**right.vectors, ACTION_KEY: right.vectors[ACTION_KEY][:, :6]})
    found = findings(narrow)
    assert found["Widths"] == "action has 6 numbers, expected 7"
    assert "Gripper" not in found
    assert narrow.names(ACTION_KEY) == ["0", "1", "2", "3", "4", "5"]


def test_frozen_frames_are_counted_only_while_the_hand_moves() -> None:
    states = np.zeros((30, 8), np.float32)
    states[:, 0] = np.arange(30) * 0.01
    rng = np.random.default_rng(0)
    moving = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    still = np.clip(128 + rng.integers(-3, 4, moving.shape), 0, 255).astype(np.uint8)
    assert frozen_frames(moving, states) == 0
    assert frozen_frames(still, states) == 20
    assert frozen_frames(still, np.zeros_like(states)) == 0
    assert frozen_frames(still[:5], states[:5]) == 0
    assert findings(numbers(), **{"4": {"wrist": 20, "front": 0}})["Frozen pictures"].endswith(
        "20 frames of wrist in episode 4"
    )


def test_no_ops_follow_the_filter() -> None:
    actions = np.zeros((6, 7), np.float32)
    actions[:, 6] = (-1, -1, -1, 1, 1, -1)
    actions[1, 0] = 0.5
    assert count_no_ops(actions) == 2  # frames 2 and 4; 0 comes first, 3 and 5 change the gripper


def test_columns_leave_nans_out() -> None:
    found = {f"{c.feature} {c.name}": c for c in summarise_columns(with_actions(set_nan))}
    column = found["action dz"]
    assert -0.91 < column.min < column.q01 < column.mean < column.q99 < column.max < 0.91
    assert (found["action gripper"].at_limit, found["observation.state x"].at_limit) == (None, None)
    assert found["action dx"].at_limit == 0


def test_histograms_of_constant_and_missing_values() -> None:
    drawn = histogram(np.array([2.0, 2.0, np.nan]), label="speed", unit="m/s")
    assert drawn.count("<rect") == 1
    assert ": 2</title>" in drawn
    assert "speed: 2 values from 2 to 2 m/s" in drawn
    assert "no finite value" in histogram(np.array([np.nan]), label="speed", unit="")
