"""The whole recipe in small: every stage for real, from demonstrations to a report; then again, from where it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vst_vla.scripts.cli import main


@pytest.mark.slow
@pytest.mark.sim
def test_quickstart_in_small(tmp_path: Path) -> None:
    out = tmp_path / "quickstart"
    arguments = ["quickstart", f"out={out}", "image_size=64", "demos.num_episodes=2", "qa.num_items=40"]
    arguments += ["spatial_steps=3", "policy_steps=4", "rollout.init_states=2", "rollout.max_steps=24"]
    assert main(arguments) == 0
    report = json.loads((out / "report.json").read_text())
    wanted = {"success_rate", "num_episodes", "ci95", "wall_s", "stage_s", "peak_rss_gib", "assets", "suite"}
    assert wanted | {"task_id", "seed", "revision"} <= report.keys()
    assert report["num_episodes"] == 2
    assert report["stage_s"].keys() == {"demos", "spatial", "policy", "rollout"}
    assert all(seconds > 0 for seconds in report["stage_s"].values())
    assert report["wall_s"] == pytest.approx(sum(report["stage_s"].values()), abs=0.3)
    assert 0.5 < report["peak_rss_gib"] < 12
    page = (out / "report.html").read_text()
    assert "<video" in page
    before = {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")}
    assert main(arguments) == 0, "a finished recipe runs through at once"
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")}
