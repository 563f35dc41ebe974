"""Questions for scorer_agreement.py: every benchmark's published files in small, every kind of question among them.

A builder lays the files out for our class and returns the same questions as lmms-eval's copy of the data has them, in
the order in which our class reads them.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vst_vla.vla.data.records import write_records

_PNG = io.BytesIO()
Image.new("RGB", (56, 56)).save(_PNG, format="PNG")
PICTURE = {"bytes": _PNG.getvalue(), "path": "a.png"}
LETTERS = "ABCDE"
THINGS = ("the red chair", "the lamp", "the sofa", "the door", "the bookshelf")


class Question(NamedTuple):
    """One question as lmms-eval has it."""

    doc: dict[str, Any]
    truth: str  # a letter, a number, a word, or a list of boxes
    options: tuple[str, ...] = ()


def vsi_bench(folder: Path) -> list[Question]:
    turns = ("left", "right", "back", "front-left")
    chosen = {
        "object_rel_direction_easy": turns[:2], "object_rel_direction_medium": turns[:3],
        "object_rel_direction_hard": turns, "object_rel_distance": THINGS[:4], "route_planning": turns[:3],
        "obj_appearance_order": ("lamp, sofa, door", "sofa, lamp, door", "door, lamp, sofa", "door, sofa, lamp"),
    }  # fmt: skip
    measured = {
        "object_abs_distance": ("1.4", "3.2", "0.8", "12.5"), "object_counting": ("2", "4", "11", "21"),
        "object_size_estimation": ("94", "45", "210", "131"), "room_size_estimation": ("21.5", "12.0", "34.7", "8.3"),
    }  # fmt: skip
    questions = []
    for number in range(4):
        for kind, texts in chosen.items():
            doc = {"question_type": kind, "options": [f"{x}. {text}" for x, text in zip(LETTERS, texts, strict=False)]}
            questions.append(Question(doc, LETTERS[number % len(texts)], texts))
        questions += [
            Question({"question_type": kind, "options": None}, found[number]) for kind, found in measured.items()
        ]
    for number, question in enumerate(questions):
        question.doc.update(id=number, dataset="scannet", scene_name=f"scene{number % 5}", question="Which?")
        question.doc["ground_truth"] = question.truth
    lines(folder / "test.jsonl", [question.doc for question in questions])
    return questions


def mmsi_bench(folder: Path) -> list[Question]:
    pairs = ("Obj.-Obj.", "Cam.-Obj.", "Cam.-Cam.", "Obj.-Reg.", "Cam.-Reg.", "Reg.-Reg.")
    kinds = [f"Positional Relationship ({pair})" for pair in pairs]
    kinds += ["Attribute (Meas.)", "Attribute (Appr.)", "Motion (Obj.)", "Motion (Cam.)", "MSR"]
    options = ", ".join(f"{x}: {thing}" for x, thing in zip("ABCD", THINGS, strict=False))
    questions = [
        Question(
            {"id": n, "question_type": kinds[n % 11], "question": f"Which?\nOptions: {options}"},
            "ABCD"[n % 4],
            THINGS[:4],
        )
        for n in range(33)
    ]
    for question in questions:
        question.doc["answer"] = question.truth
    parquet(folder / "MMSI_Bench.parquet", [question.doc | {"images": [b"x", b"y"]} for question in questions])
    return questions


def cv_bench(folder: Path) -> list[Question]:
    counts, sides = ("3", "2", "0", "1", "4"), ("left", "right")
    kinds = [
        *[
            ("2D", task, source, texts)
            for source in ("ADE20K", "COCO")
            for task, texts in (("Count", counts), ("Relation", sides))
        ],
        *[("3D", task, "Omni3D", THINGS[:2]) for task in ("Depth", "Distance")],
    ]
    by_type: dict[str, list[Question]] = {"2D": [], "3D": []}
    for number in range(36):
        kind, task, source, texts = kinds[number % len(kinds)]
        truth = LETTERS[number // len(kinds) % len(texts)]
        listed = " ".join(f"({x}) {text}" for x, text in zip(LETTERS, texts, strict=False))
        doc = {
            "idx": number,
            "type": kind,
            "task": task,
            "source": source,
            "choices": list(texts),
            "question": "Which?",
        }
        doc |= {"prompt": f"Which? Select from the following choices.\n{listed}", "answer": f"({truth})"}
        by_type[kind].append(Question(doc, truth, texts))
    for kind, rows in by_type.items():
        parquet(folder / f"test_{kind.lower()}.parquet", [row.doc | {"image": PICTURE} for row in rows])
    return by_type["2D"] + by_type["3D"]


def blink(folder: Path) -> list[Question]:
    tasks = (
        "Art_Style", "Counting", "Forensic_Detection", "Functional_Correspondence", "IQ_Test", "Jigsaw",
        "Multi-view_Reasoning", "Object_Localization", "Relative_Depth", "Relative_Reflectance",
        "Semantic_Correspondence", "Spatial_Relation", "Visual_Correspondence", "Visual_Similarity",
    )  # fmt: skip
    questions = []
    for number, task in enumerate(tasks):
        texts = THINGS[: 2 + number % 3]
        rows = []
        for again in range(3):
            truth = LETTERS[again % len(texts)]
            doc = {"idx": f"val_{task}_{again + 1}", "sub_task": task, "question": "Which?", "choices": list(texts)}
            doc |= {"answer": f"({truth})", "prompt": "Which? Select from the following options."}
            rows.append(Question(doc, truth, texts))
        pictures = {f"image_{n}": PICTURE if n == 1 else None for n in range(1, 5)}
        parquet(folder / task / "val-00000-of-00001.parquet", [row.doc | pictures for row in rows])
        questions += rows
    return questions


def srbench_3d(folder: Path) -> list[Question]:
    kinds = (
        "height_higher", "location_above", "location_closer_to_camera", "location_next_to", "orientation_in_front_of",
        "orientation_on_the_left", "orientation_viewpoint", "multi_object_closer_to", "multi_object_facing",
        "multi_object_viewpoint_towards_object", "multi_object_parallel", "multi_object_same_direction",
    )  # fmt: skip
    questions = []
    for number, kind in enumerate(kinds):
        texts = THINGS[: 4 if "viewpoint" in kind else 2]
        for turn, ending in enumerate(("", "-1", "-flip", "-flip-1")):
            truth = LETTERS[(number + turn) % len(texts)]
            cells = {x: texts[n] if n < len(texts) else "" for n, x in enumerate("ABCD")}
            doc = {"index": len(questions), "qid": f"QUESTI{number:02}{ending}", "question": "Which?", **cells}
            questions.append(Question(doc | {"answer": truth, "category": kind}, truth, texts))
    table(folder / "3dsrbench_v1_circular.tsv", [question.doc | {"image": "AAAA"} for question in questions], "\t")
    return questions


def embspatial(folder: Path) -> list[Question]:
    questions = []
    for number in range(36):
        doc = {
            "question_id": f"q{number}",
            "data_source": ("ai2thor", "mp3d", "scannet")[number % 3],
            "question": "Which?",
        }
        doc |= {"relation": ("above", "under", "left", "right", "close", "far")[number // 3 % 6], "answer": number % 4}
        questions.append(Question(doc | {"answer_options": list(THINGS[:4])}, LETTERS[number % 4], THINGS[:4]))
    lines(folder / "embspatial_bench.json", [question.doc | {"image": "AAAA"} for question in questions])
    return questions


def mindcube(folder: Path) -> list[Question]:
    questions = []
    for number in range(32):
        kind, texts = ("rotation", "among", "around", "aroundnew")[number % 4], THINGS[: 2 + number % 4]
        listed = " ".join(f"{x}. {text}" for x, text in zip(LETTERS, texts, strict=False))
        truth = LETTERS[number // 4 % len(texts)]
        doc = {"id": f"{kind}_{number}", "question": f"Which? {listed}", "gt_answer": truth, "images": ["a.png"]}
        questions.append(Question(doc, truth, texts))
    lines(folder / "MindCube_tinybench.jsonl", [question.doc for question in questions])
    return questions


def sat(folder: Path) -> list[Question]:
    """Asked in both orders by our class; lmms-eval's copy has each order as a row of its own here."""
    kinds = ("ego_movement", "obj_movement", "action_consequence", "goal_aiming", "perspective")
    rows, questions = [], []
    for number in range(20):
        texts = (("moved to the left", "moved to the right"), ("rotated left", "did not move"))[number % 2]
        right = texts[number // 2 % 2]
        rows.append(
            {
                "question": "What happened?",
                "answers": list(texts),
                "correct_answer": right,
                "question_type": kinds[number % 5],
            }
        )
        for options in (texts, texts[::-1]):
            at = options.index(right)
            doc = rows[-1] | {"answers": list(options), "correct_answer_idx": at}
            questions.append(Question(doc, LETTERS[at], options))
    parquet(folder / "SAT_test.parquet", [row | {"image_bytes": [PICTURE]} for row in rows])
    return questions


def spatial457(folder: Path) -> list[Question]:
    levels = ("L1_single", "L2_objects", "L3_2d_spatial", "L4_occ", "L4_pose", "L5_6d_spatial", "L5_collision")
    questions = []
    for number, level in enumerate(levels):
        answers = ("True", "False", "red", "3", "double bus", ("10", "airliner")[number % 2])
        rows = [{"question": "Is there?", "image_filename": "a.png", "answer": answer} for answer in answers]
        path = folder / "questions" / f"{level}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"questions": rows}))
        questions += [
            Question(row | {"category": level, "question_index": n}, row["answer"]) for n, row in enumerate(rows)
        ]
    return questions


def spatial_dise(folder: Path) -> list[Question]:
    quadrants = [f"{where}-{how}" for where in ("intrinsic", "extrinsic") for how in ("static", "dynamic")]
    rows, questions = [], []
    for number in range(32):
        row = {"question": "Which?", "image": "images/a.png", "answer": "abcd"[number // 4 % 4], "options": "A,B,C,D"}
        rows.append(
            row | {"category": f"kind {number % 10}", "difficulty": "1", "dise_category": quadrants[number % 4]}
        )
        doc = rows[-1] | {"id": f"benchmark_{number}", "answer": row["answer"].upper(), "option_letters": list("ABCD")}
        questions.append(Question(doc, doc["answer"], THINGS[:4]))
    table(folder / "DISE-bench" / "DISE-benchmark.csv", rows, ",")
    (folder / "image").mkdir()
    with tarfile.open(folder / "image" / "0.tar", "w") as archive:
        member = tarfile.TarInfo("a.png")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    return questions


def gqa(folder: Path) -> list[Question]:
    answers = ("yes", "no", "table", "left", "traffic light", "t-shirt", "man", "2", "blue", "o'clock")
    kinds = ("obj", "attr", "rel", "cat", "global")
    rows = {
        str(n): {
            "imageId": f"n{n}",
            "question": "What?",
            "answer": answers[n % 10],
            "types": {"semantic": kinds[n % 5]},
        }
        for n in range(30)
    }
    (folder / "testdev_balanced_questions.json").write_text(json.dumps(rows))
    return [Question(row, row["answer"]) for row in rows.values()]


def detection_3d(folder: Path) -> list[Question]:
    labels, records, questions = ("chair", "table", "lamp"), [], []
    for number in range(24):
        boxes = [
            {
                "bbox_3d": [0.4 * n, 0.1 * n, 2 + n, 2.0, 0.2, 0.2 + 0.1 * (number % 2), 0, 0, 0],
                "label": labels[(number + n) % 3],
            }
            for n in range(1 + number % 3)
        ]
        truth = json.dumps(boxes)
        turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": truth}]
        meta = [{"width": 56, "height": 56}]
        records.append(
            {"conversations": turns, "id": str(number), "data_source": "test", "images": [PICTURE], "type": "bbox_3d"}
        )
        records[-1]["meta_info"] = meta
        columns = {"bboxes_3d": [box["bbox_3d"] for box in boxes], "labels": [box["label"] for box in boxes]}
        questions.append(Question({"image_id": number, **columns}, truth))
    write_records(folder / "sunrgbd.parquet", records=records)
    return questions


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def table(path: Path, rows: list[dict[str, Any]], delimiter: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


BUILDERS = {
    "vsi_bench": vsi_bench, "mmsi_bench": mmsi_bench, "cv_bench": cv_bench, "blink": blink, "3dsrbench": srbench_3d,
    "embspatial": embspatial, "mindcube": mindcube, "sat": sat, "spatial457": spatial457,
    "spatial_dise": spatial_dise, "gqa": gqa, "detection_3d": detection_3d,
}  # fmt: skip
