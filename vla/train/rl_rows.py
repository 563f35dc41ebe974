"""Verifiable questions as a GRPO trainer reads them: a `datasets.Dataset` of prompts, pictures and what judges replies.

column    type               content
id        string
prompt    list of messages   system and user turns, with an image part for each picture
images    list of pictures   at multiples of 28 pixels
modes     list of strings    the tasks that judge a reply (`vla/tasks`)
truth     string             the right answer
thinking  bool               whether a reply must reason first
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Image, List

from vst_vla.vla.contracts import check_names
from vst_vla.vla.data.records import encode_png
from vst_vla.vla.data.rl_records import read_rl_records
from vst_vla.vla.fov import BOX_TYPE, FovTarget, fit_picture, unify_record
from vst_vla.vla.prompt import record_messages
from vst_vla.vla.tasks import TASKS
from vst_vla.vla.tasks.boxes import Boxes
from vst_vla.vla.tasks.judge import make_judge

MAX_IMAGES = 4
"""Pictures of one question, as VST limits them in its reinforcement stage."""


def rl_dataset(
    paths: str | Path | Sequence[str | Path],
    *,
    fov: FovTarget,
    max_pixels: int,
    direct_levels: Sequence[str] = (),
    modes: Sequence[str] = (),
    max_images: int = MAX_IMAGES,
) -> Dataset:
    """Rows of VST's RL files (`vst-vla qa export=vst_rl`), in the module's columns.

    Args:
        paths: parquet files and folders.
        fov: camera that questions for 3-D boxes are brought to.
        max_pixels: budget of every other picture.
        direct_levels: levels (L0 to L3) that are answered without reasoning, beside 3-D boxes, which always are. Rows
            that bring a thought of their own are reasoned about at every level.
        modes: tasks, of which each question must name one; none takes all questions.
        max_images: questions with more pictures are left out.

    Raises:
        ValueError: files or rows that cannot be used, a truth that its task cannot read, an unknown task, or no row
            left.
    """
    check_names("rl.modes", modes, choices=list(TASKS))
    chosen = (row for row in read_rl_records(paths) if not modes or set(modes) & set(row["meta_info"]["mode"]))
    few = (row for row in chosen if len(row["images"]) <= max_images)
    rows = [_row(row, fov=fov, max_pixels=max_pixels, direct=frozenset(direct_levels)) for row in few]
    if not rows:
        judged = f" judged by {', '.join(modes)}" if modes else ""
        raise ValueError(f"no question{judged} with at most {max_images} pictures in {paths}: give other data=…")
    return Dataset.from_list(rows).cast_column("images", List(Image()))


def _row(row: Mapping[str, Any], *, fov: FovTarget, max_pixels: int, direct: frozenset[str]) -> dict[str, Any]:
    meta = row["meta_info"]
    is_direct = meta.get("level") in direct and not row["thought"]
    judge = make_judge(meta["mode"], truth=row["answer_gt"], thinking=False if is_direct else None)
    record = _record(row, boxes=any(isinstance(task, Boxes) for task in judge.tasks), thinking=judge.thinking)
    plain = FovTarget(max_pixels=max_pixels)
    record = unify_record(record, target=fov) if record["type"] == BOX_TYPE else _fitted(record, plain)
    return {
        "id": row["id"],
        "prompt": record_messages(record),
        "images": [{"bytes": encode_png(image), "path": None} for image in record["images"]],
        "modes": list(meta["mode"]),
        "truth": row["answer_gt"],
        "thinking": judge.thinking,
    }


def _record(row: Mapping[str, Any], *, boxes: bool, thinking: bool) -> dict[str, Any]:
    """The question as a record in VST's format, without its answer."""
    kind = BOX_TYPE if boxes else "thought_mm_qa" if thinking else "mm_qa"
    turns = [{"from": "human", "value": row["question"]}]
    return {"id": row["id"], "conversations": turns, "images": row["images"], "type": kind, "meta_info": []}


def _fitted(record: dict[str, Any], target: FovTarget) -> dict[str, Any]:
    return {**record, "images": [fit_picture(image, target=target) for image in record["images"]]}
