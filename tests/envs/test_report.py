"""The report: numbers for programs, a page that needs nothing but itself."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from vst_vla.envs import report_cards, report_page
from vst_vla.envs.record import EpisodeRecord, RunIdentity
from vst_vla.envs.report import make_report, summarise, write_report
from vst_vla.envs.revision import code_revision
from vst_vla.envs.video import VideoWriter

RUN = RunIdentity(
    suite="libero_object",
    policy="vla",
    checkpoint="0123456789ab",
    assets="stand-in",
    protocol="vst_vla",
    seed=3,
    env_seed=0,
    image_size=128,
    execute=8,
    max_steps=280,
    settle_steps=10,
)


def episodes(
    count: int, *, failures: tuple[int, ...] = (), task_id: int = 0, policy: str = "vla"
) -> list[EpisodeRecord]:
    return [
        EpisodeRecord(
            run=replace(RUN, policy=policy),
            task_id=task_id,
            task=f"pick up <b>soup & salad</b> {task_id}",
            init_state=index,
            success=index not in failures,
            num_steps=280 if index in failures else 120,
            wall_s=4.0,
        )
        for index in range(count)
    ]


def film(path: Path) -> bytes:
    with VideoWriter(path, fps=20) as writer:
        for _ in range(3):
            writer.add(np.full((32, 32, 3), 90, np.uint8))
    return path.read_bytes()


def report_of(records: list[EpisodeRecord], **more: object) -> dict:
    return make_report(records, wall_s=61.23, peak_rss_gib=2.345, **more)  # type: ignore[arg-type]


class Links(HTMLParser):
    """Everything that a page would fetch, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value for key, value in attrs if key in {"src", "href", "srcset", "poster", "data"} and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_holds_what_is_promised() -> None:
    report = report_of(episodes(20, failures=(4,)), extra={"stage_s": {"demos": 1.0}})
    assert report["success_rate"] == 0.95
    assert (report["num_episodes"], report["num_success"], report["num_errors"]) == (20, 19, 0)
    assert report["ci95"] == pytest.approx([0.7639, 0.9911], abs=1e-4)
    assert (report["wall_s"], report["peak_rss_gib"]) == (61.2, 2.35)
    assert (report["suite"], report["task_id"], report["task_ids"]) == ("libero_object", 0, [0])
    assert (report["assets"], report["seed"], report["checkpoint"]) == ("stand-in", 3, "0123456789ab")
    assert report["revision"] == code_revision() != ""
    assert report["mean_steps"] == 128.0
    assert report["stage_s"] == {"demos": 1.0}


def test_tasks_have_their_own_rows() -> None:
    report = report_of(episodes(4, failures=(0,)) + episodes(2, task_id=5))
    assert report["task_id"] is None
    rows = [(row["task_id"], row["num_success"], row["num_episodes"], row["success_rate"]) for row in report["tasks"]]
    assert rows == [(0, 3, 4, 0.75), (5, 2, 2, 1.0)]


def test_broken_episodes_count_as_failures_and_are_told() -> None:
    broken = replace(episodes(1)[0], success=False, error="FatalError: <unstable>")
    assert summarise([broken])["num_errors"] == 1
    assert "the simulator broke" in report_page.render_page(report_of([broken]), [broken], folder=Path())


def test_scenes_that_could_not_be_made_are_no_trials() -> None:
    skipped = replace(episodes(1, task_id=7)[0], success=False, error="CannotVary: no other goal")
    report = report_of([*episodes(4), skipped])
    assert (report["num_episodes"], report["num_success"], report["num_skipped"]) == (4, 4, 1)
    assert report["task_ids"] == [0]


def test_the_page_tells_the_protocol_and_what_differs_from_it() -> None:
    told = {
        "name": "openvla",
        "source": "its <script>",
        "deviations": ["20 trials a task instead of 50"],
        "notes": ["n"],
    }
    records = episodes(2)
    text = Links(report_page.render_page(report_of(records, extra={"protocol": told}), records, folder=Path())).text
    assert all(part in text for part in ("openvla (its <script>)", "20 trials a task instead of 50"))
    followed = report_of(records, extra={"protocol": told | {"deviations": []}})
    assert "This run follows it." in report_page.render_page(followed, records, folder=Path())


def test_no_episodes_is_an_error() -> None:
    with pytest.raises(ValueError, match="no episodes to report"):
        report_of([])


def test_page_holds_its_videos_and_fetches_nothing(tmp_path: Path) -> None:
    content = film(tmp_path / "videos" / "a.mp4")
    records = episodes(3, failures=(1,))
    records[0] = replace(records[0], video="videos/a.mp4")
    report = report_of(records, baselines=[episodes(3, failures=(0, 1, 2), policy="random")])
    page = write_report(report, records, out=tmp_path).read_text()
    links = Links(page)
    assert links.found == ["data:video/mp4;base64," + base64.b64encode(content).decode()]
    assert not re.search(r"https?://|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]+", "", page))
    assert links.tags.count("script") == 1, "the filters' own"
    assert "b" not in links.tags, "a task's text must not become markup"
    for part in ("2 of 3 episodes", "soup & salad", "random", "0/3", "task 0, state 1", "failure", "stand-in"):
        assert part in links.text
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "videos"]


def test_more_video_than_fits_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "a.mp4")
    monkeypatch.setattr(report_cards, "EMBED_LIMIT", 10)
    record = replace(episodes(1)[0], video="a.mp4")
    assert Links(report_page.render_page(report_of([record]), [record], folder=tmp_path)).found == ["a.mp4"]


def test_a_missing_video_is_said(tmp_path: Path) -> None:
    record = replace(episodes(1)[0], video="gone.mp4")
    assert "not filmed" in report_page.render_page(report_of([record]), [record], folder=tmp_path)
