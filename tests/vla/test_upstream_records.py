"""Files in upstream's layout, written without our code, train; ours open without our code and have the same types."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest

from vst_vla.envs.qa.base import BOXES, QAItem
from vst_vla.envs.qa.shards import shard_bytes
from vst_vla.vla.data.records import SpatialRecords, write_records
from vst_vla.vla.train.run import train

TINY = {"steps": 2, "batch_size": 7, "fov_width": 112}


@pytest.fixture(scope="module")
def released(upstream_layout: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = upstream_layout.write(
        tmp_path_factory.mktemp("upstream") / "video" / "0.parquet", upstream_layout.rows()
    )
    return path.parents[1]


def test_every_row_is_read(released: Path, upstream_layout: ModuleType) -> None:
    records = SpatialRecords(released)
    assert records.skipped == []
    assert [record["id"] for record in records] == [row["id"] for row in upstream_layout.rows()]
    assert [len(record["images"]) for record in records] == [1, 2, 1, 1, 5, 0, 1]


def test_it_trains_alone_and_beside_ours(
    released: Path, question_folder: Path, learning_data: ModuleType, tmp_path: Path
) -> None:
    model = train(tmp_path / "alone", recipe=learning_data.small_recipe(**TINY), spatial=released)
    assert (model / "model.safetensors").is_file()
    both = [released, question_folder]
    assert train(tmp_path / "both", recipe=learning_data.small_recipe(**TINY), spatial=both).is_dir()


def test_ours_opens_with_plain_pyarrow_and_has_the_same_types(tmp_path: Path, upstream_layout: ModuleType) -> None:
    picture = np.zeros((28, 28, 3), dtype=np.uint8)
    item = QAItem(family="detection", level="L1", kind=BOXES, question="?", answer="[]", images=(picture,))
    record = item.to_record(name="a", data_source="vst_vla/libero_object")
    (tmp_path / "shard.parquet").write_bytes(shard_bytes([record]))
    write_records(tmp_path / "written.parquet", records=[record])
    for name in ("shard.parquet", "written.parquet"):
        table = pq.read_table(tmp_path / name)
        assert {field.name: field.type for field in table.schema} == upstream_layout.TYPES
        assert table.column_names == list(upstream_layout.TYPES)
        (row,) = table.to_pylist()
        assert [set(turn) for turn in row["conversations"]] == [{"from", "value"}] * 2
        assert row["images"][0]["bytes"].startswith(b"\x89PNG")
