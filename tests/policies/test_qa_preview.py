"""The page about spatial questions: read off again, its drawings against numbers worked out here."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from html_page import Page
from PIL import Image

from vst_vla.envs.qa.base import BOXES, PICTURES, VIDEO, Mark, QAItem
from vst_vla.envs.qa.boxes import camera_text
from vst_vla.policies.qa_preview import write_qa_preview
from vst_vla.scripts import qa
from vst_vla.vla.data.records import write_records

WIDTH, HEIGHT, FOCAL = 120, 80, 100.0
BOX = (0.1, -0.05, 1.0, 0.2, 0.1, 0.4, 0.0, 0.0, 0.0)
COUNT = 15


def picture(shade: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), shade, dtype=np.uint8)


def boxes_item(number: int) -> QAItem:
    camera = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return QAItem(
        family="detection",
        level="L1",
        kind=BOXES,
        question=f"{camera_text(camera, width=WIDTH, height=HEIGHT)}\nFormat: nine numbers.\nDetect the <bowl>.",
        answer=f'```json\n[\n\t{{"bbox_3d": {list(BOX)}, "label": "<bowl>"}}\n]\n```',
        images=(picture(number),),
    )


def points_item(number: int) -> QAItem:
    return QAItem(
        family="depth_order",
        level="L2",
        kind=PICTURES,
        question=f'Is A nearer than the milk {{"bbox_2d": [10, 20, 30, 60]}}? ({number})',
        answer="<think>A is at 0.4 m.</think>yes",
        images=(picture(10 + number), picture(200)),
        thinking=True,
        marks=(Mark("A", 40, 50, 1),),
        about={"points": [[70, 30], [80, 35]]},
    )


def film_item(number: int) -> QAItem:
    return QAItem(
        family="video_order",
        level="L3",
        kind=VIDEO,
        question="What is first?",
        answer="bowl",
        images=tuple(picture(20 * t + number) for t in range(6)),
        fps=2,
        marks=(Mark("red", 10, 20, 3),),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("questions") / "set"
    for file, item in enumerate((boxes_item, points_item, film_item)):
        rows = [item(n).to_record(name=f"{item.__name__}-{n}", data_source="test/x") for n in range(COUNT)]
        write_records(made / f"part-{file:05d}.parquet", records=rows)
    settings = {"tasks": [["libero_goal", 0], ["libero_goal", 1]], "seed": 3, "mirror": True}
    (made / "manifest.json").write_text(json.dumps({"complete": True, "assets": "stand-in", "settings": settings}))
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    before = sorted(folder.rglob("*"))
    path = write_qa_preview(folder)
    assert path == folder.with_name("set-preview.html")
    assert sorted(folder.rglob("*")) == before, "nothing is written into the dataset"
    return Page(path)


def test_page_is_one_file_without_script(page: Page) -> None:
    keys = {"src", "href", "srcset", "poster"}
    addresses = [value for _, attrs in page.tags for key, value in attrs.items() if key in keys]
    assert addresses
    assert all(address.startswith(("data:image/jpeg;", "data:video/mp4;", "#family-")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[^\"]+", "", page.source))
    assert not {"script", "link", "bowl"} & {name for name, _ in page.tags}
    assert "prefers-color-scheme: dark" in page.source
    assert all(attrs["alt"] for attrs in page.found("img"))
    assert all("controls" in attrs and attrs["aria-label"] for attrs in page.found("video"))


def test_page_counts_every_question(page: Page) -> None:
    assert "set: 45 questions of 3 families" in page.text
    assert "L1 15, L2 15, L3 15" in page.text
    assert "bbox_3d 15, thought_mm_qa 15, video 15" in page.text
    assert "libero_goal" in page.text
    assert ["video_order", "L3", "video", "15", "33.3%", "0%"] in [row[:6] for row in page.rows]
    row = next(row for row in page.rows if row[:1] == ["depth_order"])
    assert row[5] == "100%"
    assert row[7] == "yes (100%)"


def test_each_family_shows_its_share_from_first_to_last(page: Page) -> None:
    for name in ("boxes_item", "points_item", "film_item"):
        shown = [int(n) for n in re.findall(rf'<figure id="{name}-(\d+)"', page.source)]
        assert len(shown) == 12
        assert (shown[0], shown[-1]) == (0, COUNT - 1)
        assert shown == sorted(shown)


def test_boxes_in_space_are_drawn_where_the_stated_lens_puts_them(page: Page) -> None:
    drawn = re.search(r'<path d="([^"]+)" stroke=', page.figure("boxes_item-0"))
    assert drawn is not None
    ends = np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", drawn[1]), dtype=float)
    assert len(ends) == 24
    x, y, z, wide, tall, deep, *_ = BOX
    corners = [
        (x + i * wide / 2, y + j * tall / 2, z + k * deep / 2) for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)
    ]
    wanted = {(round(60 + FOCAL * a / c, 1), round(40 + FOCAL * b / c, 1)) for a, b, c in corners}
    assert {tuple(end) for end in ends} == wanted
    assert "&lt;bowl&gt;</text>" in page.figure("boxes_item-0")


def test_rectangles_points_and_marks_are_drawn_on_their_pictures(page: Page) -> None:
    first, second = page.figure("points_item-0").split('<div class="picture">')[1:]
    assert '<rect x="10" y="20" width="20" height="40"' in first
    assert re.findall(r'<circle cx="(\d+)" cy="(\d+)" r="[\d.]+" stroke', first) == [("70", "30"), ("80", "35")]
    assert '<circle cx="50.5" cy="40.5"' in second
    assert "<rect" not in second
    frames = page.figure("film_item-0").split('<div class="picture">')[1:]
    assert [("<circle" in frame) for frame in frames] == [False, False, False, True, False, False]


def test_a_box_behind_the_camera_is_cut(tmp_path: Path) -> None:
    item = boxes_item(0)
    answer = item.answer.replace("[0.1, -0.05, 1.0, 0.2, 0.1, 0.4", "[0.1, -0.05, 0.0, 0.2, 0.1, 0.4")
    record = item.to_record(name="near", data_source="t")
    record["conversations"][1]["value"] = answer
    write_records(tmp_path / "a.parquet", records=[record])
    page = Page(write_qa_preview(tmp_path / "a.parquet"))
    drawn = re.search(r'<path d="([^"]+)" stroke=', page.figure("near"))
    assert drawn is not None
    assert drawn[1].count("M") == 8, "four edges lie behind"


def test_pictures_and_films_are_those_of_the_questions(page: Page) -> None:
    shades = [int(np.asarray(Image.open(io.BytesIO(content))).mean().round()) for content in page.files("img")]
    assert shades[-6:] == pytest.approx([20 * t + COUNT - 1 for t in range(6)], abs=4)
    films = page.files("video")
    assert len(films) == 12
    with av.open(io.BytesIO(films[0])) as container:
        assert len(list(container.decode(video=0))) == 6


def test_thoughts_are_folded_and_the_models_text_is_there(page: Page) -> None:
    figure = page.figure("points_item-0")
    assert "<details><summary>Reasoning</summary>" in figure
    assert '<p class="said answer">yes</p>' in figure
    assert "Reason about the question first" in figure
    boxes = page.figure("boxes_item-0")
    assert "hfov=61.93" in boxes, "unified, as a backbone reads it"
    assert "&lt;|vision_start|&gt;&lt;|image_pad|&gt;&lt;|vision_end|&gt;" in boxes
    assert '<p class="said">… Detect the &lt;bowl&gt;.</p>' in boxes


def test_files_that_do_not_fit_are_left_out_and_told(folder: Path, tmp_path: Path) -> None:
    page = Page(write_qa_preview(folder, out=tmp_path / "sub" / "small.html", mib=24_000 / 2**20))
    spent = sum(len(attrs["src"]) for name, attrs in page.tags if name in {"img", "video"})
    assert 0 < spent < 24_000 + 100 * len(page.found("img"))
    assert "Files that would make the page too large are left out." in page.text


def test_rows_that_cannot_be_used_are_named(folder: Path, tmp_path: Path) -> None:
    good, bad = (boxes_item(n).to_record(name=f"row{n}", data_source="test/x") for n in range(2))
    bad["images"][0]["bytes"] = b"broken"
    write_records(tmp_path / "a.parquet", records=[good, bad])
    page = Page(write_qa_preview(tmp_path / "a.parquet"))
    assert "Rows that training leaves out" in page.text
    assert "row 1 of a.parquet: record 'row1' has a picture that cannot be decoded" in page.text
    assert len(page.found("figure")) == 1


def test_upstreams_rows_go_by_their_source(tmp_path: Path) -> None:
    record: dict[str, Any] = points_item(0).to_record(name="up", data_source="scannet")
    write_records(tmp_path / "set" / "a.parquet", records=[record | {"meta_info": "[]"}])
    page = Page(write_qa_preview(tmp_path / "set"))
    assert "1 question of 1 family" in page.text
    assert [row[0] for row in page.rows[1:] if row] == ["scannet"]


def test_the_verb_writes_the_page(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert qa.main([f"preview={folder}", "preview_items=2", f"out={out}"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert len(Page(out).found("figure")) == 6


def test_folders_that_hold_no_questions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no parquet file at"):
        write_qa_preview(tmp_path)
    write_records(tmp_path / "a.parquet", records=[])
    with pytest.raises(ValueError, match="holds no question that can be read"):
        write_qa_preview(tmp_path)
    with pytest.raises(ValueError, match=r"is a folder, expected a file: give out=.*preview.html"):
        write_qa_preview(tmp_path, out=tmp_path)
