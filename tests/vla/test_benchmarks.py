"""Every benchmark on a folder laid out as its files are published, with saved replies scored by hand."""

import json
import math

import numpy as np
import pytest

from vst_vla.policies.benchmark_report import make_report
from vst_vla.policies.benchmark_run import run_benchmark
from vst_vla.vla.benchmarks import BENCHMARKS, make_benchmark
from vst_vla.vla.benchmarks.average_precision import average_precision
from vst_vla.vla.benchmarks.item import open_pictures
from vst_vla.vla.benchmarks.number_words import first_number
from vst_vla.vla.benchmarks.statements import clock_hour, near_hour, near_length, yes_or_no
from vst_vla.vla.data.boxes import Box

MILK, CUP = [0, 0, 1, 0.2, 0.2, 0.2, 0, 0, 0], [1, 0, 2, 0.2, 0.2, 0.2, 0, 0, 0]


def box_list(*pairs):
    return json.dumps([{"bbox_3d": box, "label": label} for label, box in pairs])


def lay_out(layouts, name, folder):
    folder.mkdir(exist_ok=True)
    getattr(layouts, {"3dsrbench": "srbench_3d"}.get(name, name))(folder)
    return folder


THINK = "<think>It could be A. or \\boxed{D} or (C).</think>"
# benchmark, options, replies by id, figures, items that cannot be read
CASES = [
    (
        "vsi_bench", {"num_frames": 3},
        {"0": "about five chairs", "1": f"{THINK}A. left", "2": "(B)", "3": "b", "4": "<think>A"},
        # 5 for 4 is off by 25 %: six of ten thresholds; direction has one of two levels right
        {"mean_of_tasks": (0.6 + 0.5 + 0.5) / 3, "object_counting": 0.6, "object_rel_direction": 0.5,
         "route_planning": 0.5}, 1,
    ),
    (
        "mmsi_bench", {}, {"0": f"{THINK}``B``", "1": "so {B}", "2": "A Bit: B", "3": "b"}, {"accuracy": 0.75}, 1,
    ),
    (
        "cv_bench", {}, {"2D-0": "(B)", "2D-1": f"{THINK}The answer is B", "2D-2": "A", "3D-0": "Answer: b"},
        {"official": ((1 + 0.5) / 2 + 1) / 2, "micro": 0.75, "ade20k": 1, "coco": 0.5, "omni3d": 1}, 0,
    ),
    (
        "cv_bench", {"headline": "micro"}, {"2D-0": "B", "2D-1": "A", "2D-2": "A", "3D-0": "-"},
        {"micro": 0.25, "official": 0.25, "ade20k": 1, "coco": 0, "omni3d": 0}, 1,
    ),
    (
        "blink", {},
        {"val_Counting_1": "(A)", "val_Counting_10": "It is a cup: A", "val_Art_Style_1": "B", "val_Art_Style_10": ""},
        {"accuracy": 0.5}, 1,
    ),
    (
        "3dsrbench", {"variant": "flip_circular"},
        {"AAAAAAAA": "A", "AAAAAAAA-1": "B", "AAAAAAAA-flip": "B", "AAAAAAAA-flip-1": "B", "BBBBBBBB": "A"},
        {"flip_circular": 0.5, "vanilla": 0.8, "flip": 2 / 3, "circular": 2 / 3, "height": 0.75, "location": 1,
         "orientation": math.nan, "multi_object": math.nan}, 0,
    ),
    ("embspatial", {},  {"mp3d_0": "B. y", "mp3d_1": "A cup"}, {"accuracy": 0.5}, 1),
    (
        "mindcube", {}, {"among_1": "A. no, C. yes", "aroundnew_2": "<Answer>C</Answer>", "rotation_3": "A"},
        {"accuracy": 2 / 3, "rotation": 0, "among": 1, "around": 1}, 0,
    ),
    (
        "sat", {}, {"0-given": "(B)", "0-opposite": "to the right", "1-given": "B", "1-opposite": "B"},
        {"accuracy": 0.75, "both_orders": 0.5}, 0,
    ),
    (
        "spatialrgpt_bench", {},
        {"0": "Region [0] is 160 cm wide", "1": "at 11 o'clock", "2": "Yes.", "3": f"{THINK}It is Region [1]."},
        {"rule_scored_accuracy": 0.75, "qualitative": 0.5, "quantitative": 1}, 0,
    ),
    (
        "spatial457", {},
        {"L1_single-0": "{'Reasoning': 'a', 'Answer': 'Yes'}", "L1_single-1": "Red", "L4_pose-0": "'Answer': 4"},
        {"accuracy": 2 / 3, "L1_single": 1, "L4_pose": 0}, 0,
    ),
    ("spatial_dise", {},  {"benchmark_0": "The answer is (C)."}, {"accuracy": 1, "intrinsic-dynamic": 1}, 0),
    (
        "sfi_bench", {"num_frames": 3}, {"0": "B. three", "1": f"{THINK}(B)", "2": "on"},
        {"accuracy": 1 / 3, "mean_of_tasks": 0.25, "spatial": 0.5, "functional": 0, "GCT": 0.5, "TS": 0}, 1,
    ),
    (
        "surds", {},
        {
            "yaw-0": f"{THINK}<answer>north.</answer>", "yaw-1": "<answer>South</answer>",
            "xy2d-0": "<answer>[20, 20]</answer>", "xy2d-1": "<answer>[0.25, 15]</answer>",
            "xy2d-2": "<answer>[100, 20]</answer>", "depth-0": "<answer>Between 3 meters and 9 meters</answer>",
            "dis-0": "<answer>van</answer>", "dis-1": "<answer>The red car</answer>",
            "lr-0": "<answer>Van, the van</answer>", "lr-1": "<answer>A red car</answer>",
            "fb-0": "Yes", "fb-1": "<answer>No</answer>",
        },
        # (14, 15): 4 of 16 across, 5 of 15 down; "van" is none of the options word by word, "lr" misses a whole answer
        {"mean_of_tasks": (1 + (1 + math.sqrt(4 / 16 * 5 / 15)) / 3 + 1) / 6, "yaw": 1,
         "xy2d": (1 + math.sqrt(4 / 16 * 5 / 15)) / 3, "depth": 1, "dis": 0, "lr": 0, "fb": 0}, 4,
    ),
    (
        "open3d_vqa", {},
        {"0": "about 4900 cm", "1": "At 1 o'clock.", "2": "Yes, it is not tall.", "3": f"{THINK}No.",
         "4": "The shed is taller than the big tree.", "5": "A"},
        {"rule_scored_accuracy": 5 / 6, "qualitative": 0.75, "quantitative": 1}, 0,
    ),
    ("scanqa", {"num_frames": 3},  {"val-0": "Near bed.", "val-1": "the bed"}, {"accuracy": 0.5}, 0),
    ("clevr", {},  {"0": "2", "1": "no"}, {"accuracy": 0.5}, 0),
    ("gqa", {},  {"1": "table.", "2": f"{THINK}a table"}, {"accuracy": 0.5}, 0),
    (
        "detection_3d", {}, {"0": f"{THINK}{box_list(('Milk', MILK), ('cup', MILK))}"},
        # milk at every overlap, cup nowhere; of the sum of overlaps and of F1, one half
        {"AP3D": 0.5, "AP15": 0.5, "AP25": 0.5, "AP50": 0.5, "matched": 0.5}, 0,
    ),
    (
        "held_out", {}, {"0": "A", "1": f"{THINK}A", "2": box_list(("milk", MILK))},
        {"mean_of_families": 0.75, "mean_of_items": 2 / 3, "L1": 1, "L3": 0.5}, 0,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "replies", "figures", "unread"), CASES)
def test_published_layouts_and_exact_figures(benchmark_layouts, tmp_path, name, options, replies, figures, unread):
    data, out = lay_out(benchmark_layouts, name, tmp_path / "data"), tmp_path / "out"
    benchmark = make_benchmark({"name": name, **options})
    items = list(benchmark.items(data))
    assert {item.id for item in items} == set(replies)
    for item in items:
        pictures = open_pictures(item)
        assert pictures
        assert all(p.dtype == np.uint8 and p.ndim == 3 for p in pictures)
        assert len(pictures) <= options.get("num_frames", 4)
    benchmark_layouts.lines(out / "replies.jsonl", [{"id": key, "reply": reply} for key, reply in replies.items()])
    scored = run_benchmark(benchmark, data=data, out=out, answerer=None, settings={})
    found = benchmark.figures(scored)
    assert next(iter(found)) == next(iter(figures))
    assert found == pytest.approx(figures, nan_ok=True)
    report = make_report(benchmark, scored, settings={})
    assert (report["num_items"], report["num_unread"]) == (len(replies), unread)
    if benchmark.resampled:
        assert 0 <= report["ci95"][0] <= report["score"] <= report["ci95"][1] <= 1
    json.dumps(report, allow_nan=False)


def test_every_benchmark_has_a_case_and_a_yaml():
    from vst_vla.scripts.config import CONFIGS, compose

    assert {case[0] for case in CASES} == set(BENCHMARKS)
    assert {path.stem for path in (CONFIGS / "benchmark").glob("*.yaml")} == set(BENCHMARKS)
    for name in BENCHMARKS:
        config = compose("benchmark", [f"benchmark={name}", "data=x"])
        assert make_benchmark(config["benchmark"]).name == name


def test_no_reply_raises(benchmark_layouts, tmp_path):
    for name, options in {case[0]: case[1] for case in CASES}.items():
        data = lay_out(benchmark_layouts, name, tmp_path / name)
        benchmark = make_benchmark({"name": name, **options})
        items = list(benchmark.items(data))
        for reply in ("", "<think>", "</think>", "{" * 2000, "[" * 50_000, "(", "`", "\ud800", "nan", "1e999 m"):
            assert all(benchmark.score(item, reply=reply).score == 0 for item in items), (name, reply[:9])
        assert items


def test_average_precision_by_hand():
    milk, cup = Box("milk", tuple(map(float, MILK))), Box("milk", tuple(map(float, CUP)))
    far = Box("milk", (9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0))
    shifted = Box("milk", (0.1, *milk.numbers[1:]))  # half of it inside: an overlap of one third
    assert average_precision([([milk, cup], [milk, cup])])["AP3D"] == 1
    # One of two found, at full precision: recalls 0 to 0.50, which are 51 of 101.
    assert average_precision([([milk], [milk, cup])])["AP25"] == pytest.approx(51 / 101)
    # A miss before the hit halves the precision at every recall; after it, it costs nothing.
    assert average_precision([([far, milk], [milk])])["AP25"] == pytest.approx(0.5)
    assert average_precision([([milk, far], [milk])])["AP25"] == 1
    # A second box on the same object is a miss.
    assert average_precision([([milk, milk], [milk, cup])])["AP25"] == pytest.approx(51 / 101)
    # An overlap of one third counts at 0.05 to 0.30.
    found = average_precision([([shifted], [milk])])
    assert found == pytest.approx({"AP3D": 0.6, "AP15": 1, "AP25": 1, "AP50": 0})
    # Labels without a true box do not count; boxes that no picture has count as misses of their label.
    other = Box("cup", milk.numbers)
    assert average_precision([([milk, other], [milk])])["AP3D"] == 1
    assert average_precision([([milk], []), ([milk], [milk])])["AP3D"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder, _: None, "holds no \\*.parquet and no \\*\\*/\\*.parquet"),
        (
            lambda folder, layouts: layouts.parquet(folder / "a.parquet", [{"id": 1, "image": b"", "question": "?"}]),
            "has no column 'images': did you mean 'image'",
        ),
        (lambda folder, _: (folder / "a.parquet").write_bytes(b"PAR1"), "is not a parquet file, or was cut short"),
    ],
)
def test_files_that_do_not_fit_are_named(benchmark_layouts, tmp_path, change, message):
    change(tmp_path, benchmark_layouts)
    with pytest.raises(ValueError, match=message):
        list(make_benchmark({"name": "mmsi_bench"}).items(tmp_path))


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("sfi_bench", "test.jsonl", '"options"', '"option"', "has no column 'options': did you mean 'option'"),
        ("sfi_bench", "test.jsonl", '"TS"', '"TSS"', "unknown task of item '2' .* 'TSS': did you mean 'TS'"),
        ("surds", "01_xy2d_vqas.json", "obj_bbox", "bbox", "has no column 'obj_bbox': did you mean 'bbox'"),
        ("surds", "01_xy2d_vqas.json", "56x56", "56", "item 'xy2d-0' has image_pixel '56', expected WIDTHxHEIGHT"),
        ("open3d_vqa", "test_qa.json", "query_question", "question", "has no column 'query_question'"),
        ("open3d_vqa", "test_qa.json", "question_name", "name", "has no column 'qa_info.question_name': choices: type"),
        ("open3d_vqa", "test_qa.json", '{"WildUAV"', '[{"WildUAV"', "cannot be read as JSON"),
    ],
)
def test_renamed_columns_and_torn_files_are_named(benchmark_layouts, tmp_path, name, file, old, new, message):
    path = lay_out(benchmark_layouts, name, tmp_path / name) / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        list(make_benchmark({"name": name}).items(path.parent))


def test_statements_are_read_by_what_they_say_first():
    assert yes_or_no("Correct, the van is not as tall as the bus.") == "yes"
    assert yes_or_no("That is False.") == yes_or_no("Incorrect, it is true to scale") == "no"
    assert yes_or_no("In fact, the van is either behind or level.") == "no"
    assert yes_or_no("The van is to the left.") is None
    assert clock_hour("around the 10 o'clock direction") == 10
    assert near_hour(1, true=12) == 1
    assert near_hour(2, true=12) == 0
    assert near_length(75, true=100) == 1
    assert near_length(126, true=100) == 0


def test_numbers_of_vsi_bench_are_read_as_lmms_eval_reads_them(benchmark_layouts, tmp_path):
    said = {
        "ninety-four": 94, "There are Three hundred and twenty-one.": 321, "two thousand five hundred": 2500,
        "one chair in room 2": 1, "2 or three": 2, "twenty": 20, "1,200": 1200, "-3.5 m": -3.5, ".8": 0.8,
        "Someone": None, "none": None, "1e999": None,
    }  # fmt: skip
    assert {text: first_number(text) for text in said} == said
    benchmark_layouts.vsi_bench(tmp_path)
    benchmark = make_benchmark({"name": "vsi_bench"})
    counting, *_ = benchmark.items(tmp_path)
    assert benchmark.score(counting, reply="four, or 9").score == 1
    assert benchmark.score(counting, reply="Twenty-four").answer == "24"


def test_leading_zeros_do_not_make_another_number(benchmark_layouts, tmp_path):
    benchmark_layouts.spatial457(tmp_path)
    benchmark = make_benchmark({"name": "spatial457"})
    *_, three = benchmark.items(tmp_path)
    said = {"03": 1, "'Answer': '003'": 1, "30": 0, "0": 0, "٣": 0, "": 0}
    assert {text: benchmark.score(three, reply=text).score for text in said} == said


def test_unknown_names_get_a_hint(tmp_path):
    with pytest.raises(ValueError, match="unknown benchmark 'vsibench': did you mean 'vsi_bench'"):
        make_benchmark({"name": "vsibench"})
    with pytest.raises(ValueError, match="unknown option of vsi_bench 'frames': did you mean 'num_frames'"):
        make_benchmark({"name": "vsi_bench", "frames": 4})
    with pytest.raises(ValueError, match="unknown 3DSRBench variant 'flips': did you mean 'flip'"):
        make_benchmark({"name": "3dsrbench", "variant": "flips"})
    with pytest.raises(ValueError, match="no folder at"):
        list(make_benchmark({"name": "gqa"}).items(tmp_path / "none"))


def test_a_missing_film_names_the_item(benchmark_layouts, tmp_path):
    benchmark_layouts.vsi_bench(tmp_path)
    (tmp_path / "scannet" / "room.mp4").unlink()
    (item, *_) = make_benchmark({"name": "vsi_bench"}).items(tmp_path)
    with pytest.raises(ValueError, match=r"item '0' needs '.*room.mp4', which is missing"):
        open_pictures(item)
