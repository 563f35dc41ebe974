"""Parquet for reinforcement learning with EasyR1 and with verl: both sets of columns in one file.

    OUT/data/part-NNNNN.parquet   nothing else is in that folder: the readers take every file of it

    column        type                                   read by
    problem       string, with <image> markers           EasyR1 (prompt_key=problem)
    answer        string, without reasoning              EasyR1 (answer_key=answer)
    images        list<struct<bytes, path>>              both
    prompt        list<struct<role, content>>            verl
    data_source   string                                 verl
    ability       string, "spatial"                      verl
    reward_model  struct<style, ground_truth>            verl
    extra_info    struct<index, id, ..., mode>           verl; `mode` names VST's rewards

Videos become their frames, as pictures. Left out, with their number in the manifest: answers that no program can check
(captions), conversations of several questions, and questions without pictures, which neither reader mixes with others.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from vst_vla.vla.data.parquet_parts import ParquetParts
from vst_vla.vla.data.records import encode_png
from vst_vla.vla.data.stored import StoredRow, spoken
from vst_vla.vla.data.verifiable import Verifiable, verifiable
from vst_vla.vla.fov import BOX_TYPE
from vst_vla.vla.prompt import SYSTEM_PROMPT, THINKING_PROMPT, record_messages

SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("problem", pa.string()),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("answer", pa.string()),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("index", pa.int64()),
                    ("id", pa.string()),
                    ("split", pa.string()),
                    ("type", pa.string()),
                    ("family", pa.string()),
                    ("level", pa.string()),
                    ("question_type", pa.string()),
                    ("mode", pa.list_(pa.string())),
                ]
            ),
        ),
    ]
)


def _convert(row: StoredRow) -> tuple[dict[str, Any] | None, str]:
    """The row of the new file, or the reason why there is none."""
    if not row.files:
        return None, "no picture"
    turns = [text for role, text in spoken(record_messages(row.record), marker="<image>") if role != "system"]
    if len(turns) != 2:
        return None, "several questions"
    problem, answer = turns
    check = verifiable(answer, kind=row.record["type"])
    if check is None:
        return None, "free text"
    return _made(row, problem, check), ""


def _made(row: StoredRow, problem: str, check: Verifiable) -> dict[str, Any]:
    record = row.record
    # Boxes are answered without thinking, as VST's reinforcement stage has it.
    system = SYSTEM_PROMPT if BOX_TYPE in record["type"] else THINKING_PROMPT
    about = {"index": row.number, "id": record["id"], "split": "train", "type": record["type"]}
    about |= {"family": row.meta.get("family"), "level": row.meta.get("level")}
    return {
        "data_source": record["data_source"],
        "prompt": [{"role": "system", "content": system}, {"role": "user", "content": problem}],
        "problem": problem,
        "images": _pictures(row),
        "answer": check.answer,
        "ability": "spatial",
        "reward_model": {"style": "rule", "ground_truth": check.answer},
        "extra_info": {**about, "question_type": check.question_type, "mode": list(check.modes)},
    }


def _pictures(row: StoredRow) -> list[dict[str, Any]]:
    if not row.is_video:
        return [{"bytes": entry["bytes"], "path": entry["path"]} for entry in row.raw["images"]]
    frames = [encode_png(frame) for frame in row.record["images"]]
    return [{"bytes": content, "path": f"{row.record['id']}_{n}.png"} for n, content in enumerate(frames)]


EASYR1 = ParquetParts(schema=SCHEMA, convert=_convert)
