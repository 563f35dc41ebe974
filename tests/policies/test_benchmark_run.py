"""The verb `benchmark` with the tiny backbone: asked once, gone on with, scored again without a model, reported."""

import json
import re

import numpy as np
import pytest

from vst_vla.policies.benchmark_report import headline_interval
from vst_vla.policies.benchmark_run import run_benchmark
from vst_vla.scripts import benchmark as verb
from vst_vla.scripts.cli import main
from vst_vla.vla.benchmarks import make_benchmark
from vst_vla.vla.benchmarks.base import Scored
from vst_vla.vla.benchmarks.item import Item
from vst_vla.vla.data.records import encode_png, write_records


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    rows = []
    for number in range(4):
        picture = np.full((40, 60, 3), 60 * number, np.uint8)
        turns = [
            {"from": "human", "value": "<image>\nWhich? A. dark, B. light <b>"},
            {"from": "gpt", "value": "AB"[number // 2]},
        ]
        images = [{"bytes": encode_png(picture), "path": "a.png"}]
        rows.append(
            {
                "conversations": turns,
                "id": f"q{number}",
                "data_source": "test",
                "images": images,
                "type": "mm_qa",
                "meta_info": [{"family": f"family_{number % 2}", "level": "L0"}],
            }
        )
    write_records(folder / "part.parquet", records=rows)
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of two items, gone on with to all four."""
    out = tmp_path_factory.mktemp("run")
    command = [f"data={data}", f"out={out}", "checkpoint=tiny", "max_new_tokens=4", "batch_size=2"]
    assert verb.main([*command, "limit=2"]) == 0
    first = (out / "replies.jsonl").read_bytes()
    (out / "replies.jsonl").write_bytes(first + b'{"id": "q2", "rep')  # what a kill leaves
    assert verb.main(command) == 0
    return out, first


def test_a_run_goes_on_without_asking_again(finished):
    out, first = finished
    content = (out / "replies.jsonl").read_bytes()
    assert content.startswith(first)
    assert [json.loads(line)["id"] for line in content.splitlines()] == ["q0", "q1", "q2", "q3"]


def test_the_report_has_counts_and_intervals(finished):
    report = json.loads((finished[0] / "report.json").read_text())
    assert (report["benchmark"], report["headline"], report["num_items"]) == ("held_out", "mean_of_families", 4)
    assert report["settings"]["checkpoint"] == "tiny"
    assert set(report["categories"]) == {"family_0", "family_1"}
    for row in report["categories"].values():
        assert row["num_items"] == 2
        assert row["ci95"][0] <= row["score"] <= row["ci95"][1]


def test_batches_give_the_replies_of_single_questions(data, finished, tmp_path):
    verb.main([f"data={data}", f"out={tmp_path}", "checkpoint=tiny", "max_new_tokens=4", "batch_size=1"])
    assert (tmp_path / "replies.jsonl").read_bytes() == (finished[0] / "replies.jsonl").read_bytes()


def test_saved_replies_are_scored_again_without_a_model(data, tmp_path, capsys):
    replies = {"q0": "<think>B</think>A", "q1": "B", "q2": "B. <script>alert(1)</script>", "q3": ""}
    text = "".join(json.dumps({"id": name, "reply": reply}) + "\n" for name, reply in replies.items())
    (tmp_path / "replies.jsonl").write_text(text)
    assert verb.main([f"data={data}", f"out={tmp_path}"]) == 0
    assert "held_out: mean_of_families 0.5 (95 % interval" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["score"], report["num_unread"]) == (0.5, 1)
    page = (tmp_path / "report.html").read_text()
    assert len(re.findall(r"<tr><td>q\d", page)) == 4
    assert "<script>" not in page
    assert "&lt;think&gt;B&lt;/think&gt;A" in page


def test_mistakes_are_one_line(data, finished, tmp_path, capsys):
    out = finished[0]
    for arguments, message in (
        (["benchmark"], "give data=…, it has no default"),
        (["benchmark", f"data={data}", f"out={tmp_path}"], "holds no reply to an item of"),
        (["benchmark", f"data={data}", f"out={out}", "checkpoint=tiny"], "max_new_tokens=4, this one has 512"),
        (["benchmark", "benchmark=vsi_bnch", f"data={data}"], "unknown benchmark 'vsi_bnch': did you mean 'vsi_bench'"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    (tmp_path / "replies.jsonl").write_text("{}\n")
    assert main(["benchmark", f"data={data}", f"out={tmp_path}"]) == 2
    assert "line 1 of" in capsys.readouterr().err


def test_the_interval_covers_and_narrows():
    """Of simulated benchmarks with a known accuracy, nearly all intervals hold it; groups widen them."""
    benchmark = make_benchmark({"name": "mmsi_bench"})

    def scored(rng, *, count, group):
        right = np.repeat(rng.random(count // group) < 0.7, group)
        items = [Item(id=str(n), category="a", prompt="", truth="A", group=str(n // group)) for n in range(count)]
        return [Scored(item=i, reply="", answer="A", score=float(r)) for i, r in zip(items, right, strict=True)]

    rng = np.random.default_rng(0)
    held = [headline_interval(benchmark, scored(rng, count=40, group=1), seed=n) for n in range(12)]
    assert np.mean([low <= 0.7 <= high for low, high in held]) >= 0.8
    assert np.mean([high - low for low, high in held]) < 0.35
    widths = {
        group: np.subtract(*headline_interval(benchmark, scored(rng, count=100, group=group))) for group in (1, 10)
    }
    assert abs(widths[10]) > 1.8 * abs(widths[1])


class Recorder:
    """Replies "A" to everything, and remembers what came together."""

    def __init__(self):
        self.asked = []

    def answer(self, questions):
        self.asked.append([question.id for question in questions])
        return ["A"] * len(questions)


def test_questions_of_alike_replies_are_asked_together(tmp_path):
    """A batch takes as long as its longest reply. What is scored keeps the order of the file."""
    image = {"bytes": encode_png(np.zeros((40, 60, 3), np.uint8)), "path": "a.png"}
    rows = []
    for number, truth in enumerate(["A", "front left", "B", "back right"]):
        turns = [{"from": "human", "value": "<image>\nWhich? A, B"}, {"from": "gpt", "value": truth}]
        row = {"conversations": turns, "id": f"q{number}", "data_source": "test", "images": [image], "type": "mm_qa"}
        rows.append(row | {"meta_info": [{"family": "one", "level": "L0"}]})
    write_records(tmp_path / "data" / "part.parquet", records=rows)
    recorder, given = Recorder(), {"data": tmp_path / "data", "out": tmp_path / "out", "settings": {}, "batch_size": 2}
    scored = run_benchmark(make_benchmark({"name": "held_out"}), answerer=recorder, **given)
    assert recorder.asked == [["q0", "q2"], ["q1", "q3"]]
    assert [entry.item.id for entry in scored] == ["q0", "q1", "q2", "q3"]
