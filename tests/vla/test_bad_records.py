"""Rows and files that cannot be used: left out, counted and named, or refused in one line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vst_vla.vla.data.boxes import parse_boxes
from vst_vla.vla.data.questions import QuestionRows
from vst_vla.vla.data.record_files import Skipped
from vst_vla.vla.data.records import SpatialRecords
from vst_vla.vla.data.stored import stored_rows
from vst_vla.vla.fov import FovTarget
from vst_vla.vla.train.run import train


def good_boxes(count: int) -> str:
    entry = {"bbox_3d": [0.1] * 9, "label": "bowl"}
    return f"```json\n{json.dumps([entry] * count)}\n```"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('```json\n[{"bbox_3d": [0.1, 0.2\n```', "box list that is not JSON"),
        ("the bowl is on the table", "box list that is not JSON"),
        ('```json\n{"bbox_3d": [], "label": "bowl"}\n```', "not a list"),
        ('[{"bbox_3d": [1, 2, 3], "label": "bowl"}]', "other than 9 finite numbers"),
        ('[{"bbox_3d": [1, 2, 3, 4, 5, 6, 7, 8, "nine"], "label": "bowl"}]', "other than 9 finite numbers"),
        ('[{"bbox_3d": [1, 2, 3, 4, 5, 6, 7, 8, NaN], "label": "bowl"}]', "other than 9 finite numbers"),
        ('[{"bbox_3d": [1, 2, 3, 4, 5, 6, 7, 8, 9]}]', 'lacks "bbox_3d" or "label"'),
        ("[[1, 2, 3, 4, 5, 6, 7, 8, 9]]", 'lacks "bbox_3d" or "label"'),
        ("<3dbbox>1 2 3</3dbbox>", "other than 9 finite numbers"),
    ],
)
def test_an_answer_that_holds_no_boxes_is_skipped(
    tmp_path: Path, upstream_layout: ModuleType, answer: str, reason: str
) -> None:
    layout = upstream_layout
    question = f"<image>\n{layout.CAMERA}Detect the bowl."
    rows = [layout.row(name, "bbox_3d", question, good_boxes(1), [layout.jpeg(0)]) for name in "abc"]
    rows[1]["conversations"][1]["value"] = answer
    path = layout.write(tmp_path / "a.parquet", rows)
    records = SpatialRecords(path)
    assert [record["id"] for record in records] == ["a", "c"]
    assert [(skip.file, skip.row) for skip in records.skipped] == [(path, 1)]
    assert reason in records.skipped[0].reason
    assert "record 'b' has" in records.skipped[0].reason


def test_the_forms_of_box_lists_that_are_read() -> None:
    assert [box.label for box in parse_boxes(good_boxes(2))] == ["bowl", "bowl"]
    assert parse_boxes(f"<think>[not JSON</think>{good_boxes(1)}")[0].numbers == (0.1,) * 9
    assert parse_boxes("[]") == []
    (old,) = parse_boxes("<3dbbox>1.5 -2 3 4 5 6 0.1 0.2 -0.3</3dbbox>")
    assert old.numbers == (1.5, -2, 3, 4, 5, 6, 0.1, 0.2, -0.3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conversations": [{"from": "human", "value": "<image>\n<image>\nwhich?"}]}, "marks 2 images"),
        ({"conversations": [{"from": "robot", "value": "hello"}]}, "speaker 'robot'"),
        ({"conversations": [{"from": "human", "value": None}]}, "no conversation"),
        ({"images": [None]}, "without bytes"),
        ({"images": None, "conversations": [{"from": "human", "value": "<image>\nwhich?"}]}, "carries 0"),
    ],
)
def test_a_row_of_which_no_prompt_can_be_made_is_skipped(
    tmp_path: Path, upstream_layout: ModuleType, changes: dict[str, object], reason: str
) -> None:
    good = upstream_layout.rows()[0]
    path = upstream_layout.write(tmp_path / "a.parquet", [good, good | {"id": "bad"} | changes])
    records = SpatialRecords(path)
    assert len(records) == 1
    assert reason in records.skipped[0].reason


def damage(path: Path, *, group: int) -> None:
    """Overwrites the middle of a row group's pages."""
    columns = [pq.ParquetFile(path).metadata.row_group(group).column(i) for i in range(2)]
    start = columns[0].data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + columns[0].total_compressed_size // 2] = b"\xff" * (columns[0].total_compressed_size // 2)
    path.write_bytes(bytes(content))


def test_the_rows_of_a_damaged_row_group_are_skipped_and_named(
    tmp_path: Path, upstream_layout: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [upstream_layout.rows()[0] | {"id": str(number)} for number in range(9)]
    path = upstream_layout.write(tmp_path / "a.parquet", rows, row_group_size=3)
    damage(path, group=1)
    records = SpatialRecords(tmp_path)
    assert [record["id"] for record in records] == list("012678")
    assert [skip.row for skip in records.skipped] == [3, 4, 5]
    assert "row 4 of" in caplog.text
    assert "3 of 9 spatial rows cannot be used and are left out" in caplog.text
    skipped: list[Skipped] = []
    assert [row.number for row in stored_rows(path, skipped=skipped)] == [0, 1, 2, 6, 7, 8]
    assert [row.number for row in stored_rows(path, skipped=skipped, only={1, 4, 8})] == [1, 8]
    assert [skip.row for skip in skipped] == [3, 4, 5, 4]
    assert "damaged" in skipped[0].reason


def test_a_run_trains_on_the_rest_and_says_how_many_are_missing(
    tmp_path: Path, upstream_layout: ModuleType, learning_data: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    rows = upstream_layout.rows()
    rows[3]["conversations"][1]["value"] = "no boxes"
    rows[0]["images"][0]["bytes"] = rows[0]["images"][0]["bytes"][:200]
    upstream_layout.write(tmp_path / "data" / "a.parquet", rows)
    with caplog.at_level(logging.WARNING):
        train(tmp_path / "run", recipe=learning_data.small_recipe(steps=2), spatial=tmp_path / "data")
    assert "2 of 7 spatial rows cannot be used and are left out" in caplog.text
    for number in (0, 3):
        assert f"skipping row {number} of {tmp_path / 'data' / 'a.parquet'}" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_line(tmp_path: Path, upstream_layout: ModuleType, share: float) -> None:
    path = upstream_layout.write(tmp_path / "a.parquet", upstream_layout.rows())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"a.parquet' is not a parquet file, or was cut short: make it again") as info:
        QuestionRows(tmp_path, fov=FovTarget(), max_pixels=10_000)
    assert "\n" not in str(info.value)


def test_columns_of_another_type_are_refused(tmp_path: Path, upstream_layout: ModuleType) -> None:
    table = pq.read_table(upstream_layout.write(tmp_path / "a.parquet", upstream_layout.rows()))
    at = table.column_names.index("images")
    wrong = table.set_column(at, "images", pa.array([["a.png"]] * len(table)))
    pq.write_table(wrong, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"column images of '.*a.parquet' is list<.*string>, not list<.*bytes"):
        SpatialRecords(tmp_path)


def test_wider_types_are_read(tmp_path: Path, upstream_layout: ModuleType) -> None:
    table = pq.read_table(upstream_layout.write(tmp_path / "a.parquet", upstream_layout.rows()))
    file = pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary()), ("sha", pa.string())])
    wide = [
        [{"path": f["path"], "bytes": f["bytes"], "sha": "-"} for f in files]
        for files in table.column("images").to_pylist()
    ]
    at = table.column_names.index("images")
    pq.write_table(table.set_column(at, "images", pa.array(wide, type=pa.large_list(file))), tmp_path / "b.parquet")
    narrow, wide_records = SpatialRecords(tmp_path / "a.parquet"), SpatialRecords(tmp_path / "b.parquet")
    for ours, theirs in zip(narrow, wide_records, strict=True):
        assert ours["conversations"] == theirs["conversations"]
        for a, b in zip(ours["images"], theirs["images"], strict=True):
            np.testing.assert_array_equal(a, b)
