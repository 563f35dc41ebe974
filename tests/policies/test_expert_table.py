"""The table of the expert's success, over suites and worker processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vst_vla.policies.expert.table import success_table
from vst_vla.scripts.expert_table import main


@pytest.mark.sim
def test_the_table_is_written_with_a_row_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.json"
    argv = [f"out={out}", "suite=[libero_object]", "task_ids=[0,2]", "num_init_states=1", "num_workers=2"]
    assert main(argv) == 0
    table = json.loads(out.read_text())
    assert table["command"].endswith(" ".join(argv))
    assert table["suite"] == "libero_object"
    assert table["num_episodes"] == 2
    assert [row["task_id"] for row in table["tasks"]] == [0, 2]
    for row in table["tasks"]:
        assert row["successes"] == 1
        assert row["failed_init_states"] == []
        assert 40 < row["median_steps"] == row["mean_steps"] < 200
    assert table["success_rate"] == table["success_rate_by_suite"]["libero_object"] == 1.0
    assert "libero_object: 100.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suites": ["libero_gaol"]}, "unknown suite 'libero_gaol': did you mean 'libero_goal'"),
        ({"task_ids": [99]}, "task_id 99 is out of range"),
        ({"init_states": []}, "0 initial states"),
        ({"num_workers": 0}, "0 workers"),
        ({"task_ids": []}, "^0 tasks"),
    ],
)
def test_what_makes_no_table_is_refused(change: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"suites": ["libero_object"], "task_ids": [0], "init_states": [0]} | change
    with pytest.raises(ValueError, match=message):
        success_table(**settings)  # type: ignore[arg-type]
