"""Video records read as their frames."""

import json

import numpy as np
import pytest

from vst_vla.envs.qa.base import VIDEO, QAItem
from vst_vla.vla.data.records import SpatialRecords, write_records
from vst_vla.vla.data.videos import mark_frames, read_frames
from vst_vla.vla.prompt import record_messages


def frames(count):
    """Pictures that differ from each other and have an edge."""
    made = np.zeros((count, 48, 64, 3), dtype=np.uint8)
    for number, picture in enumerate(made):
        picture[:, : 64 // 2] = 20 * number + 10
        picture[:, 64 // 2 :] = 250 - 20 * number
    return tuple(made)


def item(count):
    return QAItem(
        family="video_caption", level="L2", kind=VIDEO, question="What moves?", answer="It", images=frames(count), fps=4
    )


def test_a_video_item_is_read_back_as_its_frames(tmp_path):
    record = item(6).to_record(name="a", data_source="test")
    assert len(record["images"]) == len(json.loads(record["meta_info"])) == 1
    assert record["type"] == "video"
    write_records(tmp_path / "a.parquet", records=[record])
    read = SpatialRecords(tmp_path)[0]
    assert read["conversations"][0]["value"] == "<image>\n" * 6 + "What moves?"
    for ours, theirs in zip(read["images"], frames(6), strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 4
    parts = record_messages(read)[1]["content"]
    assert [part["type"] for part in parts].count("image") == 6


def test_the_same_frames_give_the_same_bytes():
    once, again = (item(5).to_record(name="a", data_source="t")["images"][0]["bytes"] for _ in range(2))
    assert once == again


def test_a_long_video_is_thinned_out_with_both_ends():
    record = item(11).to_record(name="a", data_source="test")
    read = read_frames(record["images"][0]["bytes"], max_frames=3)
    assert [round(float(picture[:, :20].mean()) / 20 - 0.5) for picture in read] == [0, 5, 10]


def test_markers_become_one_image_a_frame():
    turns = [
        {"from": "human", "value": "<|vision_start|><|video_pad|><|vision_end|>go"},
        {"from": "gpt", "value": "ok"},
    ]
    assert mark_frames(turns, num_frames=[2])[0]["value"] == "<image>\n<image>\ngo"
    bare = [{"from": "human", "value": "go"}]
    assert mark_frames(bare, num_frames=[1, 2])[0]["value"] == "<image>\n" * 3 + "go"
    with pytest.raises(ValueError, match="1 video markers in its text but 2 videos"):
        mark_frames(turns, num_frames=[2, 2])
