"""The plug-in for lmms-eval driven by lmms-eval itself, on two tasks of two items, and its replies checked.

    python tests/bench/lmms_eval_plugin.py --lmms-python LMMS_VENV/bin/python

LMMS_VENV is a virtual environment with lmms-eval 0.7.3 and this package (docs/benchmarks.md has one that is made in a
minute). `lmms-eval eval --model vst_vla` finds the plug-in by its entry point and asks the tiny backbone from random
weights. One task builds its messages itself, with a system turn and pictures between words; the other leaves that to
lmms-eval and has a film. Replies must be those that the backbone gives to each question alone, and scores one half, for
the truth of a task's first item is the reply that is expected. Writes docs/results/lmms_eval_plugin.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vst_vla.envs.qa.encoding import encode_video
from vst_vla.vla.answering import Answerer, Asked
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import Array
from vst_vla.vla.data.records import encode_png
from vst_vla.vla.data.videos import read_frames
from vst_vla.vla.files import write_json

MAX_PIXELS, NUM_FRAMES, LENGTH, THINKING_LENGTH = 12544, 3, 8, 12
VERSION = "from importlib.metadata import version; print(version('lmms-eval'))"
YAML = """
task: {name}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visuals
doc_to_text: question
{messages}
doc_to_target: answer
generation_kwargs:
  max_new_tokens: {length}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
UTILS = """
import io

from PIL import Image


def visuals(doc):
    return [Image.open(io.BytesIO(picture)) for picture in doc["pictures"]] + ([doc["film"]] if doc["film"] else [])


def messages(doc):
    first, *rest = doc["question"].split("|")
    parts = [{"type": "text", "text": first}] if first else []
    for picture, words in zip(visuals(doc), rest):
        parts += [{"type": "image", "url": picture}, {"type": "text", "text": words}]
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    return [system, {"role": "user", "content": parts}]
"""


def main() -> None:
    """Runs lmms-eval twice, with and without reasoning, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lmms-python", required=True, help="a Python that has lmms-eval and this package")
    parser.add_argument("--out", default="docs/results/lmms_eval_plugin.json")
    arguments = parser.parse_args()
    runs = []
    for thinking in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(arguments.lmms_python, Path(folder), thinking=thinking))
    version = subprocess.check_output([arguments.lmms_python, "-c", VERSION], text=True).strip()
    write_json(Path(arguments.out), record(runs, version=version))
    print(Path(arguments.out).read_text())
    tasks = [entry for run in runs for entry in run["tasks"].values()]
    if not all(entry["replies_as_alone"] == 2 and entry["exact_match"] == 0.5 for entry in tasks):
        sys.exit("lmms-eval was given other replies than the backbone gives alone")


def run(python: str, folder: Path, *, thinking: bool) -> dict[str, Any]:
    """One run of lmms-eval, beside what it should give."""
    expected = lay_out(folder, thinking=thinking)
    more = f",thinking=True,max_new_tokens={THINKING_LENGTH}" if thinking else ""
    options = f"pretrained=tiny,max_pixels={MAX_PIXELS},num_frames={NUM_FRAMES}{more}"
    command = [
        *("eval", "--model", "vst_vla", "--model_args", options, "--tasks", ",".join(expected)),
        *("--include_path", "tasks", "--batch_size", "2", "--device", "cpu", "--log_samples", "--output_path", "out"),
    ]
    # Its caches in the folder too, and nothing is looked for on the hub.
    env = {**os.environ, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    program = str(Path(python).absolute().with_name("lmms-eval"))
    done = subprocess.run([program, *command], cwd=folder, env=env, capture_output=True, text=True)
    results = next((folder / "out").rglob("*_results.json"), None)
    if done.returncode or results is None:
        sys.exit(f"lmms-eval failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    scores = json.loads(results.read_text())["results"]
    return {
        "command": " ".join(["lmms-eval", *command]),
        "seconds": round(time.perf_counter() - start, 1),
        "tasks": {name: summary(results, name, scores[name], replies) for name, replies in expected.items()},
    }


def summary(results: Path, name: str, scores: dict[str, Any], expected: list[str]) -> dict[str, Any]:
    """One task's score and its replies beside the expected ones."""
    (samples,) = results.parent.glob(f"*_samples_{name}.jsonl")
    rows = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda row: row["doc_id"])
    return {
        "exact_match": scores["exact_match,none"],
        "items": len(rows),
        "replies_as_alone": sum(row["filtered_resps"] == reply for row, reply in zip(rows, expected, strict=True)),
        "reply": rows[0]["filtered_resps"],
    }


def lay_out(folder: Path, *, thinking: bool) -> dict[str, list[str]]:
    """Both tasks' files below `folder`; the replies that their questions get when each is asked alone."""
    red, blue = (np.asarray(Image.new("RGB", (90, 40), colour)) for colour in ((200, 10, 10), (10, 10, 200)))
    film = folder / "film.mp4"
    film.write_bytes(encode_video([np.full((64, 64, 3), 20 * n, np.uint8) for n in range(8)], fps=4))
    frames = read_frames(film.read_bytes(), max_frames=NUM_FRAMES)
    marks = "<image>" * len(frames)
    questions = {
        "own_messages": [
            ("|Which is left?", [red], "", "Be brief.\n<image>Which is left?", [red]),
            ("First |, then |?", [red, blue], "", "Be brief.\nFirst <image>, then <image>?", [red, blue]),
        ],
        "own_visuals": [
            ("Which is nearer?", [blue], "", "<image>Which is nearer?", [blue]),
            ("What moves?", [], str(film), f"{marks}What moves?", frames),
        ],
    }
    (folder / "tasks").mkdir()
    (folder / "tasks" / "utils.py").write_text(UTILS)
    answerer = Answerer(
        load_backbone("tiny"),
        thinking=thinking,
        max_new_tokens=THINKING_LENGTH if thinking else LENGTH,
        max_pixels=MAX_PIXELS,
    )
    return {name: lay_out_task(folder, name, asked, answerer) for name, asked in questions.items()}


def lay_out_task(
    folder: Path, name: str, asked: list[tuple[str, list[Array], str, str, list[Array]]], answerer: Answerer
) -> list[str]:
    """One task's yaml and parquet, and its expected replies; the first is the truth of the first item."""
    replies = [answerer.answer([Asked(id="0", prompt=row[3], pictures=row[4])])[0] for row in asked]
    rows = [
        {"question": question, "pictures": [encode_png(picture) for picture in pictures], "film": film, "answer": truth}
        for (question, pictures, film, *_), truth in zip(asked, (replies[0], "no such reply"), strict=True)
    ]
    data = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), data)
    messages = "doc_to_messages: !function utils.messages" if name == "own_messages" else ""
    text = YAML.format(name=name, data=data, messages=messages, length=LENGTH)
    (folder / "tasks" / f"{name}.yaml").write_text(text)
    return replies


def record(runs: list[dict[str, Any]], *, version: str) -> dict[str, Any]:
    """The file's content."""
    return {
        "command": "python tests/bench/lmms_eval_plugin.py --lmms-python LMMS_VENV/bin/python",
        "what": "lmms-eval's own program with the plug-in, tiny backbone from random weights: its scores, and how many "
        "of its replies are those of the same question asked alone",
        "lmms_eval": version,
        "runs": runs,
    }


if __name__ == "__main__":
    main()
