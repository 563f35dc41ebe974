"""The stages of tuning in small: training and tests for real, on questions written here, and a record at the end.

The simulator's questions have tests of their own (tests/envs); that the ladder asks for them in the right words is
checked here.
"""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from vst_vla.scripts.config import compose
from vst_vla.scripts.stages import Progress, run_stages
from vst_vla.scripts.tuning_ladder import make_record, question_stages, told, training_stages
from vst_vla.vla.data.export import export_records
from vst_vla.vla.data.records import write_records


def test_every_stage_starts_from_the_one_before_and_is_tested():
    config = compose("tuning_ladder", ["out=O"])
    made = [*question_stages(config), *training_stages(config)]
    for stage in made:
        assert compose(stage.verb, stage.arguments)  # every override is known to its verb
    sets = [a.removeprefix("out=O/questions/") for s in made for a in s.arguments if a.startswith("out=O/questions/")]
    assert [name for name in sets if name.startswith("thoughts")] == ["thoughts/spatial"]
    assert len([name for name in sets if name.startswith("stills")]) == len(config["scenes"]) == 3
    learnt = [s.arguments for s in made if any(a.startswith("out=O/questions/stills") for a in s.arguments)]
    assert all({"varied_looks=0.8", "cameras=[]"} <= set(arguments) for arguments in learnt)
    trainings = [stage for stage in made if stage.verb in ("train", "grpo")]
    trained = [(s.name, next(a for a in s.arguments if a.startswith("backbone.name"))) for s in trainings]
    assert trained == [
        ("sight", "backbone.name=tiny-reader"),
        ("words", "backbone.name=O/sight/model"),
        ("quizzes", "backbone.name=O/words/model"),
        ("sft", "backbone.name=O/quizzes/model"),
        ("cold_start", "backbone.name=O/sft/model"),
        ("grpo", "backbone.name=O/cold_start/model"),
    ]
    asked = [a for s in made if s.verb == "benchmark" for a in s.arguments if a.startswith(("checkpoint", "thinking"))]
    assert asked[:4] == ["checkpoint=O/sft/model", "thinking=false", "checkpoint=O/cold_start/model", "thinking=false"]
    assert asked[-4:] == ["checkpoint=O/grpo/model", "thinking=true", "checkpoint=O/grpo/model", "thinking=false"]
    assert len(asked) == 2 * sum(len(settings["after"]) for settings in config["tests"].values()) == 14


def test_it_may_end_earlier():
    asked = list(training_stages(compose("tuning_ladder", ["out=O", "last=sft"])))
    assert [stage.name for stage in asked] == ["sight", "words", "quizzes", "sft", "sft tests"]
    with pytest.raises(ValueError, match=r"unknown stage 'sfd'.*sft"):
        list(training_stages(compose("tuning_ladder", ["last=sfd"])))


def dataset(folder, *, suite, seed, families):
    """Which of two pictures is dark, asked four times for each family, under what `vst-vla qa` says of its sets."""
    rows = []
    for number in range(4 * len(families)):
        family, shade = families[number // 4], 40 + 150 * (number % 2)
        buffer = io.BytesIO()
        Image.fromarray(np.full((56, 56, 3), shade, np.uint8)).save(buffer, format="PNG")
        thinks = family.startswith("reason")
        answer = "A caption in more words than any rule could compare." if family == "caption" else "AB"[number % 2]
        turns = [
            {"from": "human", "value": "<image>\nIs it dark? A. yes, B. no"},
            {"from": "gpt", "value": f"<think>I look.</think>{answer}" if thinks else answer},
        ]
        rows.append(
            {
                "conversations": turns,
                "id": f"{suite}-{seed}-{number}",
                "data_source": "test",
                "images": [{"bytes": buffer.getvalue(), "path": "a.png"}],
                "type": "thought_mm_qa" if thinks else "mm_qa",
                "meta_info": [{"family": family, "level": "L2"}],
            }
        )
    write_records(folder / "part-00000.parquet", records=rows)
    settings = {"families": dict.fromkeys(families, 1.0), "tasks": [[suite, 0]], "cameras": [], "init_states": [seed]}
    manifest = {"complete": True, "assets": "stand-in", "settings": {**settings, "seed": seed}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.slow
def test_the_ladder_in_small(tmp_path):
    config = compose("tuning_ladder", [f"out={tmp_path}", "steps.sft=1", "steps.grpo=1", "benchmark.max_new_tokens=4"])
    unlabelled = {f"recipe.{name}_weight": 0.0 for name in ("readout", "pointing", "gaze", "recall")}
    config["train"] = {
        "sft": config["train"]["sft"] | unlabelled | {"data": {"spatial": f"{tmp_path}/questions/dense"}}
    }
    for settings in config["tests"].values():
        settings["after"] = ["sft", "grpo"]
    config["grpo"]["rl"] = "tiny"
    dataset(tmp_path / "questions" / "dense", suite="libero_object", seed=20, families=["depth_order"])
    dataset(tmp_path / "questions" / "verifiable", suite="libero_object", seed=20, families=["reason_single"])
    dataset(tmp_path / "tests" / "answers", suite="libero_spatial", seed=0, families=["depth_order", "caption"])
    dataset(tmp_path / "tests" / "choices", suite="libero_spatial", seed=0, families=["distance"])
    dataset(tmp_path / "tests" / "thoughts", suite="libero_spatial", seed=0, families=["reason_single"])
    export_records(tmp_path / "questions" / "verifiable", out=config["grpo"]["data"], form="vst_rl")
    stages, progress = list(training_stages(config)), Progress(tmp_path / "progress.json")
    assert run_stages(stages, progress=progress) == 0
    record = make_record(config, progress, command="the command")
    json.dumps(record, allow_nan=False)
    depth, caption = record["families"]
    assert (depth["family"], depth["num_items"], caption["num_items"]) == ("depth_order", 4, 0)
    assert list(depth["scores"]) == ["sft", "grpo"]
    assert depth["guessing"] == 0.5  # two letters are on offer
    assert (list(record["lifted"]), list(record["fallen"])) == (["sft", "grpo"], ["grpo"])
    assert record["thinking"]["grpo"]["num_items"] == 4
    assert record["choices"]["thoughts"]["grpo"]["num_choices"] == 4
    assert "over_previous" in record["choices"]["answers"]["grpo"]
    assert any(key.startswith("rewards/") for key in record["curves"]["grpo"][0])
    assert {record["stage_s"][name] > 0 for name in ("sft", "sft tests", "grpo", "grpo tests")} == {True}
    assert record["apart"]["shared_scenes"] == record["apart"]["shared_objects"] == []
    assert "depth_order" in told(record)
    config["tests"]["thoughts"]["after"] = config["tests"]["choices"]["after"] = ["grpo"]
    sooner = make_record(config | {"last": "sft"}, progress, command="the command")
    assert list(sooner["steps"]) == list(sooner["lifted"]) == ["sft"]
    assert (sooner["thinking"], sooner["choices"]["choices"]) == ({}, {})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    trainings = [stage for stage in stages if stage.verb != "benchmark"]
    assert run_stages(trainings, progress=progress) == 0, "what is finished is left as it is"
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
