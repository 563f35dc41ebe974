"""VST's parquet records: exact columns, round trips, and what is skipped."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vst_vla.envs.qa.shards import SCHEMA as WRITTEN_SCHEMA
from vst_vla.vla.data.records import COLUMNS, SCHEMA, SpatialRecords, encode_png, write_records


def image(value=7):
    return np.full((20, 30, 3), value, dtype=np.uint8)


def row(name="a", **changes):
    base = {
        "conversations": [{"from": "human", "value": "<image>\nhow far?"}, {"from": "gpt", "value": f"{name} m"}],
        "id": name,
        "data_source": "test",
        "images": [{"bytes": encode_png(image()), "path": "x.png"}],
        "type": "mm_qa",
        "meta_info": [{"width": 30, "height": 20, "resized_width": -1, "resized_height": -1}],
    }
    return base | changes


def test_plain_pyarrow_reads_what_is_written(tmp_path):
    assert write_records(tmp_path / "a.parquet", records=[row("a"), row("b")]) == 2
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.names == list(COLUMNS)
    assert table.schema.field("images").type == pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    first = table.to_pylist()[0]
    assert first["conversations"][1] == {"from": "gpt", "value": "a m"}
    assert json.loads(first["meta_info"]) == row()["meta_info"]


def test_reader_and_generator_agree_on_the_format():
    assert SCHEMA.equals(WRITTEN_SCHEMA)


def test_items_have_decoded_pictures_and_parsed_meta(tmp_path):
    write_records(tmp_path / "a.parquet", records=[row("a")])
    item = SpatialRecords(tmp_path / "a.parquet")[0]
    assert item["images"][0].dtype == np.uint8
    np.testing.assert_array_equal(item["images"][0], image())
    assert item["meta_info"][0]["width"] == 30
    assert [turn["from"] for turn in item["conversations"]] == ["human", "gpt"]


def test_several_files_folders_and_row_groups_are_one_sequence(tmp_path):
    write_records(tmp_path / "d" / "one.parquet", records=[row(f"one{i}") for i in range(300)])
    write_records(tmp_path / "two.parquet", records=[row("two")])
    records = SpatialRecords([tmp_path / "d", tmp_path / "two.parquet"])
    assert len(records) == 301
    assert [records[i]["id"] for i in (0, 255, 256, 299, 300, -1)] == [
        "one0",
        "one255",
        "one256",
        "one299",
        "two",
        "two",
    ]
    assert [r["id"] for r in records[1:3]] == ["one1", "one2"]
    with pytest.raises(IndexError, match="301"):
        records[301]


def test_a_reader_travels_to_workers(tmp_path):
    write_records(tmp_path / "a.parquet", records=[row("a")])
    assert pickle.loads(pickle.dumps(SpatialRecords(tmp_path)))[0]["id"] == "a"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": [{"bytes": encode_png(image())[:60], "path": "x"}]}, "cannot be decoded"),
        ({"images": [{"bytes": b"no picture", "path": "x"}]}, "cannot be decoded"),
        ({"images": [{"bytes": None, "path": "x"}]}, "without bytes"),
        ({"conversations": []}, "no conversation"),
        ({"meta_info": "{"}, "not JSON"),
        ({"type": "video", "images": [{"bytes": b"no video", "path": "x"}]}, "a video that cannot be decoded"),
        ({"type": "video", "images": []}, "carries no video"),
    ],
)
def test_a_corrupt_row_is_skipped_counted_and_named(tmp_path, caplog, changes, reason):
    path = tmp_path / "a.parquet"
    write_records(path, records=[row("good"), row("bad", **changes), row("fine")])
    records = SpatialRecords(path)
    assert [r["id"] for r in records] == ["good", "fine"]
    assert [(file, number) for file, number, _ in records.skipped] == [(path, 1)]
    assert "'bad'" in records.skipped[0][2]
    assert reason in records.skipped[0][2]
    assert "row 1" in caplog.text


def test_without_verifying_the_next_good_row_stands_in(tmp_path):
    path = tmp_path / "a.parquet"
    write_records(path, records=[row("good"), row("bad", conversations=[]), row("fine")])
    records = SpatialRecords(path, verify=False)
    assert len(records) == 3
    assert records.skipped == []
    assert [records[1]["id"], records[1]["id"]] == ["fine", "fine"]
    assert len(records.skipped) == 1


def test_text_rows_have_no_pictures(tmp_path):
    turns = [{"from": "human", "value": "two and two?"}, {"from": "gpt", "value": "4"}]
    write_records(tmp_path / "a.parquet", records=[row(type="text", images=[], conversations=turns)])
    assert SpatialRecords(tmp_path)[0]["images"] == []


def test_missing_columns_are_named(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "images": [[]], "type": ["text"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="lacks column conversations, data_source, meta_info"):
        SpatialRecords(tmp_path / "a.parquet")


def test_a_row_that_lacks_a_column_is_not_written(tmp_path):
    bad = row()
    del bad["type"]
    with pytest.raises(ValueError, match="record 'a' lacks type"):
        write_records(tmp_path / "a.parquet", records=[bad])
    assert list(tmp_path.iterdir()) == []


def test_nothing_usable_is_an_error(tmp_path):
    write_records(tmp_path / "a.parquet", records=[row(conversations=[])])
    with pytest.raises(ValueError, match="no usable row"):
        SpatialRecords(tmp_path)


def test_no_file_a_torn_file_and_an_unfinished_folder_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no parquet file at"):
        SpatialRecords(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(ValueError, match="not a parquet file, or was cut short"):
        SpatialRecords(tmp_path / "a.parquet")
    (tmp_path / "manifest.json").write_text('{"complete": false}')
    with pytest.raises(ValueError, match="not finished"):
        SpatialRecords(tmp_path)
