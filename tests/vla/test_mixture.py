"""The mixture: what step i holds depends on (seed, i) alone, every row is met once an epoch, ratios are kept."""

from __future__ import annotations

import pytest

from vst_vla.vla.data.mixture import ROBOT, SPATIAL, Source, StepBatches, split_rows
from vst_vla.vla.data.order import Order


class Numbers:
    """Rows that say their own index."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        return {"index": index}


class Recorder:
    """A collator that returns the rows' indices."""

    def robot(self, rows: list[dict]) -> list[int]:
        return [row["index"] for row in rows]

    questions = robot


def mixture(*, seed: int = 0, robot: int = 40, spatial: int = 12) -> StepBatches:
    sources = [
        Source(name=ROBOT, rows=Numbers(robot), order=Order([robot], seed=seed), per_step=6),
        Source(name=SPATIAL, rows=Numbers(spatial), order=Order([spatial], seed=seed, source=1), per_step=2),
    ]
    return StepBatches(sources, collator=Recorder(), num_items=100, seed=seed)  # type: ignore[arg-type]


def test_same_seed_same_steps_in_any_order() -> None:
    first, second = mixture(), mixture()
    backwards = {step: second[step] for step in reversed(range(30))}
    assert [first[step] for step in range(30)] == [backwards[step] for step in range(30)]
    assert mixture(seed=1)[0] != first[0]


def test_every_row_once_an_epoch() -> None:
    data = mixture(robot=30)
    seen = [index for step in range(5) for index in data[step][ROBOT]]
    assert sorted(seen) == list(range(30))
    following = [index for step in range(5, 10) for index in data[step][ROBOT]]
    assert sorted(following) == list(range(30))
    assert following != seen


def test_ratio() -> None:
    assert split_rows(32, spatial_ratio=0.25) == (24, 8)
    assert split_rows(32, spatial_ratio=0.0) == (32, 0)
    with pytest.raises(ValueError, match=r"spatial_ratio 0.1 of 5 rows is none"):
        split_rows(5, spatial_ratio=0.1)
    with pytest.raises(ValueError, match=r"spatial_ratio 1.5 is outside"):
        split_rows(32, spatial_ratio=1.5)


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(ValueError, match="the spatial data is empty"):
        mixture(spatial=0)
    with pytest.raises(ValueError, match="nothing to train on"):
        StepBatches([], collator=Recorder(), num_items=1, seed=0)  # type: ignore[arg-type]
