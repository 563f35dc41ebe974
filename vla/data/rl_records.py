"""VST's RL format: parquet rows that hold a truth and name the rewards that judge it. Reading it.

Columns, in the same layout as upstream's RL data (https://github.com/Yangr116/VST):

    column      content
    id          string
    images      encoded pictures, as in `records`
    question    text with one <image> for each picture
    thought     a reasoning, or empty
    answer_gt   the bare truth
    answer      the same
    data_source where the row comes from
    meta_info   JSON: {mode: [reward, ...], question_type, ...}; of several rewards the best counts
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vst_vla.vla.data.record_files import ROWS_AT_ONCE, list_files
from vst_vla.vla.data.records import decode_picture

RL_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("question", pa.string()),
        ("thought", pa.string()),
        ("answer_gt", pa.string()),
        ("answer", pa.string()),
        ("data_source", pa.string()),
        ("meta_info", pa.string()),
    ]
)
RL_COLUMNS = tuple(RL_SCHEMA.names)


def read_rl_records(paths: str | Path | Sequence[str | Path]) -> Iterator[dict[str, Any]]:
    """Rows one after the other: the module's columns, images decoded to (H,W,3) uint8, `meta_info` as a dict.

    Args:
        paths: parquet files and folders.

    Raises:
        ValueError: no parquet file, a missing column, or a row that cannot be used, by its id.
    """
    for path in list_files(paths):
        try:
            file = pq.ParquetFile(path)
        except pa.ArrowInvalid as error:
            raise ValueError(f"'{path}' is not a parquet file, or was cut short: make it again") from error
        with file:
            missing = [name for name in RL_COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise ValueError(
                    f"'{path}' lacks column {', '.join(missing)}: give what `vst-vla qa export=vst_rl` wrote, or "
                    "upstream's RL files"
                )
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(RL_COLUMNS)):
                yield from map(_decoded, batch.to_pylist())


def _decoded(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        meta = json.loads(row["meta_info"])
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"record '{row['id']}' has a meta_info that is not JSON") from error
    if not isinstance(meta, dict) or not meta.get("mode"):
        raise ValueError(f"record '{row['id']}' names no reward: expected a meta_info with mode=[…]")
    images = [decode_picture(image, name=row["id"]) for image in row["images"] or []]
    return {**row, "images": images, "meta_info": meta}
