"""Parquet in VST's own RL format (`rl_records`), for its reinforcement stage.

    OUT/data/part-NNNNN.parquet

`mode` names VST's rewards (`verifiable`). The reasoning of a row that thinks goes into `thought`, where training does
not imitate it; labels of what its pictures show (`picture_labels`) stay behind. Left out, with their number in the
manifest: answers that no reward can check (captions), conversations of several questions, rows without pictures, and
videos, of which VST's RL data has none.
"""

from __future__ import annotations

import json
from typing import Any

from vst_vla.vla.data.parquet_parts import ParquetParts
from vst_vla.vla.data.picture_labels import KEY
from vst_vla.vla.data.rl_records import RL_SCHEMA
from vst_vla.vla.data.stored import StoredRow
from vst_vla.vla.data.verifiable import Verifiable, verifiable
from vst_vla.vla.prompt import split_reply


def _convert(row: StoredRow) -> tuple[dict[str, Any] | None, str]:
    """The row of the new file, or the reason why there is none."""
    if row.is_video:
        return None, "video"
    if not row.files:
        return None, "no picture"
    turns = [text for role, text in row.turns(marker="<image>") if role != "system"]
    if len(turns) != 2:
        return None, "several questions"
    check = verifiable(turns[1], kind=row.record["type"])
    if check is None:
        return None, "free text"
    return _made(row, turns, check), ""


def _made(row: StoredRow, turns: list[str], check: Verifiable) -> dict[str, Any]:
    meta = {"mode": list(check.modes), "question_type": check.question_type}
    return {
        "id": row.record["id"],
        "images": [{"bytes": entry["bytes"], "path": entry["path"]} for entry in row.raw["images"]],
        "question": turns[0],
        "thought": split_reply(turns[1]).think or "",
        "answer_gt": check.answer,
        "answer": check.answer,
        "data_source": row.record["data_source"],
        "meta_info": json.dumps(meta | {key: value for key, value in row.meta.items() if key not in (*meta, KEY)}),
    }


VST_RL = ParquetParts(schema=RL_SCHEMA, convert=_convert)
