"""The report in headless Chromium: videos play, filters work, nothing is complained about, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Tab, open_page
from test_merge import record

from vst_vla.envs.compare import write_comparison
from vst_vla.envs.record import EpisodeRecord, RecordFile
from vst_vla.envs.report import make_report, write_report
from vst_vla.envs.video import VideoWriter

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
VISIBLE = "[...document.querySelectorAll('#episodes figure')].filter(f => f.offsetParent).length"
PLAY = """new Promise(done => { const film = document.querySelector('video'); film.muted = true;
  film.addEventListener('timeupdate', () => film.currentTime > 0 && done(film.videoWidth)); film.play(); })"""


def film(path: Path) -> None:
    with VideoWriter(path, fps=20) as writer:
        for shade in range(0, 200, 10):
            writer.add(np.full((64, 64, 3), shade, np.uint8))


def write_run(folder: Path, *, failing: tuple[int, ...]) -> list[EpisodeRecord]:
    """Four official episodes of two tasks, filmed, and two with another camera."""
    records = [record(i % 2, i // 2, success=i not in failing, video=f"videos/{i}.mp4") for i in range(4)]
    records += [record(0, i, axes=("camera",), strength=s, success=s < 1) for i, s in ((0, 0.5), (1, 1.0))]
    for one in records:
        RecordFile(folder / "records.jsonl").append(one)
        if one.video:
            film(folder / one.video)
    return records


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    folder = tmp_path_factory.mktemp("report")
    records = write_run(folder, failing=(3,))
    protocol = {"name": "openvla", "source": "somewhere", "deviations": ["2 of 10 tasks"], "notes": []}
    report = make_report(records, wall_s=1.0, peak_rss_gib=0.1, extra={"protocol": protocol})
    page = write_report(report, records, out=folder)
    with open_page(page, profile=folder / "profile") as opened:
        yield opened


def choose(tab: Tab, **values: str) -> tuple[int, str]:
    """How many episodes show after choosing, and what the page says of it."""
    for name, value in values.items():
        tab.run(
            f"(() => {{ const c = document.querySelector('select[name={name}]'); c.value = {value!r}; "
            "c.dispatchEvent(new Event('change')); })()"
        )
    return tab.run(VISIBLE), tab.run("document.querySelector('.controls output').value")


def test_filters_choose_among_episodes(tab: Tab) -> None:
    assert choose(tab) == (6, "6 of 6 episodes")
    assert choose(tab, task="1") == (2, "2 of 6 episodes")
    assert choose(tab, outcome="failure") == (1, "1 of 6 episodes")
    assert choose(tab, task="", outcome="", scene="camera") == (2, "2 of 6 episodes")
    assert choose(tab, scene="camera 1") == (1, "1 of 6 episodes")
    assert choose(tab, scene="official") == (4, "4 of 6 episodes")
    assert choose(tab, scene="") == (6, "6 of 6 episodes")


def test_failures_come_first(tab: Tab) -> None:
    outcomes = tab.run("[...document.querySelectorAll('#episodes figure')].map(f => f.dataset.outcome)")
    assert outcomes == ['["failure"]'] * 2 + ['["success"]'] * 4


def test_the_chart_has_a_panel_with_a_point_for_each_strength(tab: Tab) -> None:
    assert tab.run("document.querySelectorAll('.panels figure').length") == 1
    assert tab.run("document.querySelectorAll('.panels circle').length") == 3
    assert tab.run("document.querySelector('.panels svg').getBoundingClientRect().height") > 50


def test_videos_play(tab: Tab) -> None:
    assert tab.run(PLAY) == 64


def test_nothing_is_complained_about_and_nothing_fetched(tab: Tab) -> None:
    assert tab.complaints == []
    fetched = tab.run("performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))")
    assert fetched == []


def test_a_comparison_shows_both_videos_of_what_differs(tmp_path: Path) -> None:
    for name, failing in (("a", (3,)), ("b", ())):
        write_run(tmp_path / name, failing=failing)
    write_comparison(tmp_path / "a", tmp_path / "b", out=tmp_path / "out")
    with open_page(tmp_path / "out" / "compare.html", profile=tmp_path / "profile") as opened:
        assert opened.run("document.querySelectorAll('video').length") == 2
        assert opened.run(PLAY) == 64
        assert "1 pairs" not in opened.run("document.body.innerText")
        assert opened.complaints == []
