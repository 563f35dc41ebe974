"""VST's RL format: what an export writes, plain pyarrow and our reader read."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vst_vla.scripts import qa as qa_script
from vst_vla.vla.data.export import export_records
from vst_vla.vla.data.records import encode_png, write_records
from vst_vla.vla.data.rl_records import read_rl_records

PICTURE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
BOXES = '```json\n[\n\t{"bbox_3d": [0, 0, 1, 0.1, 0.1, 0.1, 0, 0, 0], "label": "milk"}\n]\n```'
ANSWERS = {
    "letter": ("mm_qa", "B"),
    "number": ("mm_qa", "42"),
    "order": ("mm_qa", "B, A, C"),
    "words": ("mm_qa", "front left"),
    "boxes": ("bbox_3d", BOXES),
    "thought": ("thought_mm_qa", "<think>The milk is left of it.</think>C"),
    "caption": ("mm_qa", "The picture shows the milk, the butter and the basket in a row."),
    "blind": ("text", "B"),
}


def row(name, kind, answer):
    pictures = [] if kind == "text" else [{"bytes": encode_png(PICTURE), "path": f"{name}.png"}] * 2
    return {
        "conversations": [
            {"from": "human", "value": "<image>\n" * len(pictures) + f"Question {name}?"},
            {"from": "gpt", "value": answer},
        ],
        "id": name,
        "data_source": "vst_vla/test",
        "images": pictures,
        "type": kind,
        "meta_info": [{"width": 8, "height": 8, "family": "reason_single", "level": "L3", "cells": {"side": 1}}],
    }


@pytest.fixture
def source(tmp_path):
    write_records(tmp_path / "q.parquet", records=[row(name, *answer) for name, answer in ANSWERS.items()])
    return tmp_path / "q.parquet"


def test_rows_carry_a_truth_and_the_rewards_that_judge_it(source, tmp_path):
    done = export_records(source, out=tmp_path / "rl", form="vst_rl")
    assert (done.num_rows, dict(done.left_out)) == (6, {"free text": 1, "no picture": 1})
    rows = {row["id"]: row for row in read_rl_records(tmp_path / "rl")}
    assert not any("cells" in r["meta_info"] for r in rows.values()), "labels are for other losses"
    assert {
        name: (r["answer_gt"], r["meta_info"]["mode"], r["meta_info"]["question_type"]) for name, r in rows.items()
    } == {
        "letter": ("B", ["multi_choices_score"], "multi_choices"),
        "number": ("42", ["relaxed_score"], "number"),
        "order": ("B, A, C", ["relaxed_score"], "order"),
        "words": ("front left", ["vqa_score"], "words"),
        "boxes": (BOXES, ["bbox3d"], "bbox_3d"),
        "thought": ("C", ["multi_choices_score"], "multi_choices"),
    }
    assert {name: r["thought"] for name, r in rows.items() if r["thought"]} == {"thought": "The milk is left of it."}
    for name, r in rows.items():
        assert r["answer"] == r["answer_gt"]
        assert r["question"] == f"<image><image>Question {name}?"
        assert [np.array_equal(image, PICTURE) for image in r["images"]] == [True, True]
        assert r["meta_info"]["family"] == "reason_single"


def test_plain_pyarrow_reads_upstreams_columns(source, tmp_path):
    qa_script.main(["export=vst_rl", f"from={source}", f"out={tmp_path / 'rl'}"])
    (path,) = (tmp_path / "rl" / "data").glob("*.parquet")
    schema = pq.read_schema(path)
    text = pa.string()
    assert {field.name: field.type for field in schema} == {
        "id": text,
        "images": pa.list_(pa.struct([("bytes", pa.binary()), ("path", text)])),
        "question": text,
        "thought": text,
        "answer_gt": text,
        "answer": text,
        "data_source": text,
        "meta_info": text,
    }
    meta = json.loads(pq.read_table(path).column("meta_info")[0].as_py())
    assert isinstance(meta["mode"], list)


def test_other_files_are_refused(source, tmp_path):
    with pytest.raises(ValueError, match="lacks column question, thought, answer_gt, answer: give what"):
        list(read_rl_records(source))
    export_records(source, out=tmp_path / "rl", form="vst_rl")
    (path,) = (tmp_path / "rl" / "data").glob("*.parquet")
    table = pq.read_table(path)
    for meta, message in (("{}", "'letter' names no reward"), ("{", "'letter' has a meta_info that is not JSON")):
        column = pa.array([meta] * table.num_rows)
        pq.write_table(table.set_column(table.schema.names.index("meta_info"), "meta_info", column), path)
        with pytest.raises(ValueError, match=message):
            list(read_rl_records(path))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is not a parquet file, or was cut short"):
        list(read_rl_records(path))
