"""`make bench` in small: every row measured, recorded, and an unknown row refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vst_vla.scripts.bench import main


def test_every_row_is_measured_and_recorded(tmp_path: Path) -> None:
    assert main([f"out={tmp_path}", "repeats=2"]) == 0
    (path,) = tmp_path.glob("bench-*.json")
    record = json.loads(path.read_text())
    rows = {row["name"]: row for row in record["rows"]}
    assert {"matrix_rate_fp32", "policy_latency_batch_1", "policy_training_step_24"} <= rows.keys()
    for row in rows.values():
        assert 0 < row["min"] <= row["median"] <= row["max"]
        assert row["runs"] >= 2
    assert rows["policy_latency_batch_8"]["median"] > rows["policy_latency_batch_1"]["min"]


def test_an_unknown_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown bench row 'latency'"):
        main([f"out={tmp_path}", "only=latency"])
