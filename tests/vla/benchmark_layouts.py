"""Folders laid out as benchmarks' files are published, a function each, with one to five small items."""

from __future__ import annotations

import base64
import csv
import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vst_vla.envs.qa.encoding import encode_video
from vst_vla.vla.data.records import write_records


def png(colour=(200, 10, 10)):
    buffer = io.BytesIO()
    Image.new("RGB", (56, 56), colour).save(buffer, format="PNG")
    return buffer.getvalue()


PICTURE = {"bytes": png(), "path": "a.png"}
BASE64 = base64.b64encode(png()).decode()


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def lines(path, rows):
    text(path, "".join(json.dumps(row) + "\n" for row in rows))


def table(path, rows, delimiter):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png())


def film(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_video([np.full((64, 64, 3), 20 * n, np.uint8) for n in range(8)], fps=4))


def vsi_bench(folder):
    def row(number, kind, truth, options=None):
        return {
            "id": number,
            "dataset": "scannet",
            "scene_name": "room",
            "question_type": kind,
            "question": "How?",
            "options": options,
            "ground_truth": truth,
        }

    choices = ["A. left", "B. right"]
    lines(
        folder / "test.jsonl",
        [
            row(0, "object_counting", "4"),
            row(1, "object_rel_direction_easy", "A", choices),
            row(2, "object_rel_direction_hard", "B", choices),
            row(3, "route_planning", "B", choices),
            row(4, "route_planning", "A", choices),
        ],
    )
    film(folder / "scannet" / "room.mp4")


def mmsi_bench(folder):
    columns = {"images": [png(), png()], "question_type": "Attr", "question": "Which? Options: A: x, B: y"}
    rows = [{"id": n, **columns, "answer": "B", "thought": ""} for n in range(4)]
    parquet(folder / "MMSI_Bench.parquet", rows)


def cv_bench(folder):
    def row(number, kind, source):
        return {
            "idx": number, "type": kind, "task": "Count", "image": PICTURE, "question": "?", "choices": ["x", "y"],
            "answer": "(B)", "prompt": "How many? (A) x (B) y", "source": source,
        }  # fmt: skip

    parquet(folder / "test_2d.parquet", [row(0, "2D", "ADE20K"), row(1, "2D", "COCO"), row(2, "2D", "COCO")])
    parquet(folder / "test_3d.parquet", [row(0, "3D", "Omni3D")])


def blink(folder):
    for task in ("Counting", "Art_Style"):
        row = {"idx": f"val_{task}_1", "question": "?", "choices": ["x", "y"], "answer": "(A)", "prompt": "Which?"}
        images = {f"image_{n}": PICTURE if n < 3 else None for n in range(1, 5)}
        parquet(
            folder / task / "val-00000-of-00001.parquet",
            [{**row, **images}, {**row, **images, "idx": f"{row['idx']}0"}],
        )


def srbench_3d(folder):
    def row(qid, answer, **options):
        base = {"qid": qid, "question": "Which?", "A": "x", "B": "y", "C": "", "D": "nan", "answer": answer}
        return {**base, "category": "height_higher", "image": BASE64, **options}

    rows = [row("AAAAAAAA", "A"), row("AAAAAAAA-1", "B"), row("AAAAAAAA-flip", "B"), row("AAAAAAAA-flip-1", "A")]
    table(folder / "3dsrbench_v1_circular.tsv", [*rows, row("BBBBBBBB", "A", category="location_above")], "\t")


def embspatial(folder):
    row = {"question": "Where?", "answer_options": ["x", "y"], "answer": 1, "relation": "left", "image": BASE64}
    lines(
        folder / "embspatial_bench.json", [{"question_id": f"mp3d_{n}", "data_source": "mp3d", **row} for n in range(2)]
    )


def mindcube(folder):
    row = {"images": ["other/a.png", "other/a.png"], "question": "Which?", "gt_answer": "C"}
    rows = [{"id": name, **row} for name in ("among_1", "aroundnew_2", "rotation_3")]
    lines(folder / "MindCube_tinybench.jsonl", rows)
    picture(folder / "other" / "a.png")


def sat(folder):
    row = {"image_bytes": [PICTURE], "question": "Did it turn?", "answers": ["to the left", "to the right"]}
    row |= {"correct_answer": "to the right", "question_type": "ego_movement"}
    parquet(folder / "SAT_test.parquet", [row, row])


def spatialrgpt_bench(folder):
    def row(number, kind, category, truth):
        return {
            "id": number,
            "image": BASE64,
            "bbox": [[2, 2, 30, 30], [20, 20, 50, 50]],
            "rle": [],
            "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": truth}],
            "text_q": "<image>\nWhat about Region [0] and Region [1]?",
            "qa_info": {"type": kind, "category": category},
        }

    rows = [
        row(0, "quantitative", "width", "Region [0] is 2.00 meters wide."),
        row(1, "quantitative", "direction", "Region [1] is at Region [0]'s 12 o'clock."),
        row(2, "qualitative", "above_predicate", "No, it is below."),
        row(3, "qualitative", "wide_choice", "Region [1]"),
    ]
    lines(folder / "SpatialRGPT-Bench_v1.jsonl", rows)


def spatial457(folder):
    row = {"image_filename": "a.png", "question": "Is there?"}
    text(folder / "questions" / "L1_single.json", {"questions": [{**row, "answer": True}, {**row, "answer": "red"}]})
    text(folder / "questions" / "L4_pose.json", {"questions": [{**row, "answer": 3}]})
    picture(folder / "images" / "a.png")


def spatial_dise(folder):
    row = {"question": "Fold?", "image": "images/a.png", "answer": "c", "category": "folding", "difficulty": "1"}
    table(folder / "DISE-bench" / "DISE-benchmark.csv", [{**row, "dise_category": "intrinsic-dynamic"}], ",")
    picture(folder / "a.png")
    (folder / "image").mkdir()
    with tarfile.open(folder / "image" / "0.tar", "w") as archive:
        archive.add(folder / "a.png", arcname="a.png")


def sfi_bench(folder):
    row = {"video": "films/room.mp4", "question": "How?"}
    rows = [
        {**row, "id": 0, "task": "GCT", "options": ["two", "three"], "answer": "B"},
        {**row, "id": 1, "task": "gct", "options": ["A. two", "B. three"], "answer": "A"},
        {**row, "id": 2, "task": "TS", "options": ["off", "on"], "answer": "b"},
    ]
    lines(folder / "test.jsonl", rows)
    film(folder / "films" / "room.mp4")


SURDS_OPTIONS = {
    "yaw": ("North", "South", "East", "West"),
    "depth": ("Between 3 meters and 9 meters", "Between 12 meters and 15 meters"),
    "dis": ("The red car", "The van", "Almost the same"),
    "lr": ("The red car", "The van", "Almost the same"),
    "fb": ("Yes", "No", "Almost the same in terms of front-back position"),
}


def surds(folder):
    def row(task, answer, **more):
        listed = "".join(f"- {option}\n" for option in SURDS_OPTIONS.get(task, ()))
        options = f"Options: \n{listed}" if listed else ""
        prompt = f"Question:\nWhich?\n\n{options}\n\nUse <answer>[…]</answer>\n"
        base = {"image_path": "eval_vqas/image/a.webp", "image_pixel": "56x56", "prompt": prompt}
        return {**base, "answer": answer, **more}

    box = {"obj_bbox": [10, 10, 30, 30]}
    answers = {
        "00_yaw": ["North", "South"], "02_depth": ["Between 3 meters and 9 meters"],
        "03_dis": ["The van", "The red car"], "04_lr": ["The van", "The red car"], "05_fb": ["Yes", "No"],
    }  # fmt: skip
    for name, texts in answers.items():
        text(folder / f"{name}_vqas.json", [row(name[3:], answer) for answer in texts])
    text(folder / "01_xy2d_vqas.json", [row("xy2d", "[20, 20]", **box) for _ in range(3)])
    picture(folder / "image" / "a.webp")


def open3d_vqa(folder):
    def row(number, kind, question_name, question, truth):
        return {
            "id": f"{number}", "image_info": {"image_path": "rgb/a.png"}, "query_question": f"<image>\n{question}",
            "qa_info": {"type": kind, "question_name": question_name},
            "conversation": [{"from": "human", "value": question}, {"from": "gpt", "value": truth}],
        }  # fmt: skip

    rows = [
        row(0, "quantitative", "distance", "How far is the shed from you?", "The shed is 40.0 meters away."),
        row(1, "quantitative", "direction2agent", "Where is the tree?", "The tree is at 12 o'clock from the shed."),
        row(2, "qualitative", "short_predicate", "Is it shorter?", "Correct, the shed is not as tall as the tree."),
        row(3, "qualitative", "left_predicate", "Is the shed left?", "In fact, the shed is to the right of the tree."),
        row(4, "qualitative", "tall_choice", "Who is, the shed or the big tree?", "Standing taller is big tree."),
        row(5, "qualitative", "front_choice", "Which is nearer? A:shed B:tree C:Same D:Unknown", "A.shed"),
    ]
    text(folder / "test_qa.json", {"WildUAV": {"Wuhan": rows}})
    picture(folder / "WildUAV" / "Wuhan" / "rgb" / "a.png")


def scanqa(folder):
    row = {"scene_id": "scene0", "object_ids": [1], "object_names": ["bed"], "question": "Where?"}
    rows = [{**row, "question_id": f"val-{n}", "answers": ["by the bed", "near bed"]} for n in range(2)]
    text(folder / "ScanQA_v1.0_val.json", rows)
    for number in range(5):
        picture(folder / "frames" / "scene0" / f"{number}.jpg")


def clevr(folder):
    row = {"image_filename": "a.png", "question": "How many?", "answer": 2, "program": [{"function": "count"}]}
    rows = [{**row, "question_index": 0}, {**row, "question_index": 1, "answer": "yes"}]
    text(folder / "questions" / "CLEVR_val_questions.json", {"questions": rows})
    picture(folder / "images" / "val" / "a.png")


def gqa(folder):
    row = {"imageId": "n1", "question": "What?", "answer": "Table", "types": {"semantic": "obj"}}
    text(folder / "testdev_balanced_questions.json", {"1": row, "2": row})
    picture(folder / "images" / "n1.jpg")


MILK, CUP = [0, 0, 1, 0.2, 0.2, 0.2, 0, 0, 0], [1, 0, 2, 0.2, 0.2, 0.2, 0, 0, 0]


def box_list(*pairs):
    return json.dumps([{"bbox_3d": box, "label": label} for label, box in pairs])


def record(name, kind, answer, **meta):
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": answer}]
    row = {"conversations": turns, "id": name, "data_source": "test", "images": [PICTURE], "type": kind}
    return row | {"meta_info": [{"width": 56, "height": 56, **meta}]}


def detection_3d(folder):
    truth = box_list(("milk", MILK), ("cup", CUP))
    write_records(folder / "sunrgbd.parquet", records=[record("0", "bbox_3d", truth), record("1", "mm_qa", "A")])


def held_out(folder):
    rows = [
        record("0", "mm_qa", "A", family="mi_camera_motion", level="L3"),
        record("1", "thought_mm_qa", "<think>so</think>B", family="mi_camera_motion", level="L3"),
        record("2", "bbox_3d", box_list(("milk", MILK)), family="detection", level="L1"),
        record("3", "mm_qa", "A caption of more words than any reward could compare.", family="caption", level="L2"),
    ]
    write_records(folder / "part.parquet", records=rows)
