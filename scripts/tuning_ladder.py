"""`python -m vst_vla.scripts.tuning_ladder`: the stages of tuning in a row, and what each did, as JSON.

The verbs qa, train, grpo and benchmark, each of which goes on where it was; see configs/tuning_ladder.yaml.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vst_vla.envs.revision import code_revision
from vst_vla.policies.benchmark_run import run_benchmark
from vst_vla.policies.tuning_data import apart
from vst_vla.policies.tuning_report import choice_rows, fallen, family_rows, form_rows, lifted
from vst_vla.scripts import benchmark, grpo, qa, train
from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status
from vst_vla.scripts.stages import Progress, Stage, overrides, run_stages
from vst_vla.vla.benchmarks import make_benchmark
from vst_vla.vla.benchmarks.base import Scored
from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.files import write_json
from vst_vla.vla.train.curve import training_curve

ANSWERS, THOUGHTS = "answers", "thoughts"
GRPO = "grpo"
PLACES = "places"  # of one set of questions: only some of the scenes
OURS = ("thinking", "after", PLACES)  # of a set's settings; the rest is vst-vla qa's


def main(argv: list[str]) -> int:
    """Runs all stages, writes the record, and says what it came to."""
    config = compose("tuning_ladder", argv)
    out = Path(config["out"])
    progress = Progress(out / "progress.json")
    stages = [*question_stages(config), *training_stages(config)]
    if status := run_stages(stages, progress=progress):
        return status
    record = make_record(config, progress, command=" ".join(["python -m vst_vla.scripts.tuning_ladder", *argv]))
    write_json(Path(config["record"]), record)
    print(told(record))
    print(f"every family: {config['record']}")
    return 0


def question_stages(config: dict[str, Any]) -> Iterator[Stage]:
    """All questions: of training, from each of its scenes or from none, and of the tests."""
    out, common = config["out"], {**config["pictures"], "seed": config["seed"]}
    for name, settings in config["questions"].items():
        for place, scenes in config["scenes"].items():
            if place in settings.get(PLACES, config["scenes"]):
                chosen = {"out": f"{out}/questions/{name}/{place}", **common, **config["training_pictures"], **scenes}
                chosen |= _asked(settings)
                yield Stage(name="questions", verb="qa", run=qa.main, arguments=overrides(chosen))
    for name, settings in config["tests"].items():
        chosen = {"out": f"{out}/tests/{name}", **common, **config["held_out"], **_asked(settings)}
        yield Stage(name="questions", verb="qa", run=qa.main, arguments=overrides(chosen))
    reading = {"repeats": config["repeats"], "seed": config["seed"], "out": f"{out}/repeats"}
    yield Stage(name="questions", verb="qa", run=qa.main, arguments=overrides(reading))
    rows = {"export": "vst_rl", "from": f"{out}/questions/verifiable", "out": config["grpo"]["data"]}
    yield Stage(name="questions", verb="qa", run=qa.main, arguments=overrides(rows))


def _asked(settings: dict[str, Any]) -> dict[str, Any]:
    """What `vst-vla qa` is told of a set of questions."""
    return {key: value for key, value in settings.items() if key not in OURS}


def training_stages(config: dict[str, Any]) -> Iterator[Stage]:
    """Every stage of training from the checkpoint of the one before, and the tests after it."""
    checkpoint = config["backbone"]
    for name in trainings(config):
        settings = config["grpo"] if name == GRPO else config["train"][name]
        verb, run, length = (GRPO, grpo.main, "rl") if name == GRPO else ("train", train.main, "recipe")
        given = {"backbone": {"name": checkpoint}, "out": f"{config['out']}/{name}", "seed": config["seed"]}
        arguments = overrides(settings | given)
        yield Stage(name=name, verb=verb, run=run, arguments=[*arguments, f"{length}.steps={config['steps'][name]}"])
        checkpoint = f"{config['out']}/{name}/model"
        yield from test_stages(config, name, checkpoint=checkpoint)


def trainings(config: dict[str, Any]) -> list[str]:
    """The stages of training, to the last one that is wanted. Raises ValueError for one that there is not."""
    names = [*config["train"], GRPO]
    if config["last"] not in names:
        raise unknown_name("stage", str(config["last"]), names)
    return names[: names.index(config["last"]) + 1]


def test_stages(config: dict[str, Any], name: str, *, checkpoint: str) -> Iterator[Stage]:
    """The held-out questions to one checkpoint."""
    for test in tests_after(config, name):
        thinking = config["tests"][test]["thinking"]
        chosen = {"data": f"{config['out']}/tests/{test}", "out": f"{config['out']}/answers/{name}/{test}"}
        chosen |= {"checkpoint": checkpoint, "thinking": thinking} | config["benchmark"]
        yield Stage(name=f"{name} tests", verb="benchmark", run=benchmark.main, arguments=overrides(chosen))


def tests_after(config: dict[str, Any], name: str) -> list[str]:
    """The tests that follow a stage."""
    return [test for test, settings in config["tests"].items() if name in settings["after"]]


def make_record(config: dict[str, Any], progress: Progress, *, command: str) -> dict[str, Any]:
    """What the stages came to, out of what they have left in OUT."""
    out = Path(config["out"])
    judge = make_benchmark({"name": "held_out", **config["benchmark"]["benchmark"]})
    trained = trainings(config)
    answers: dict[str, dict[str, list[Scored]]] = {
        test: {
            stage: run_benchmark(
                judge, data=out / "tests" / test, out=out / "answers" / stage / test, answerer=None, settings={}
            )
            for stage in trained
            if test in tests_after(config, stage)
        }
        for test in config["tests"]
    }
    manifest = json.loads((out / "tests" / ANSWERS / "manifest.json").read_text())
    rows = family_rows(judge, answers[ANSWERS], families=list(manifest["settings"]["families"]))
    return {
        "command": command,
        "revision": code_revision(),
        "seed": config["seed"],
        "steps": {name: config["steps"][name] for name in trained},
        "stage_s": {name: round(seconds, 1) for name, seconds in progress.seconds.items()},
        "training_minutes": round(sum(progress.seconds[name] for name in trained) / 60, 1),
        "peak_rss_gib": round(progress.peak_gib, 2),
        "assets": manifest["assets"],
        "apart": apart(out / "questions", out / "tests"),
        "lifted": {stage: lifted(rows, stage=stage) for stage in answers[ANSWERS]},
        "fallen": fallen(rows),
        "thinking": form_rows(answers[THOUGHTS]),
        "choices": {test: choice_rows(scored) for test, scored in answers.items()},
        "families": rows,
        "curves": {name: training_curve(out / name / "run") for name in trained},
    }


def told(record: dict[str, Any]) -> str:
    """The record in a few lines."""
    stages = list(record["lifted"])
    lines = [f"{'family':<22} {'guess':>6} " + " ".join(f"{stage:>10}" for stage in stages)]
    for row in record["families"]:
        if row["num_items"]:
            scores = " ".join(f"{row['scores'][stage]:>10.1%}" for stage in stages)
            lines.append(f"{row['family']:<22} {row['guessing']:>6.1%} {scores}")
    for stage, names in record["lifted"].items():
        lines.append(f"{stage}: {len(names)} of {len(record['families'])} families above guessing")
    for stage, form in record["thinking"].items():
        lines.append(f"{stage}: {form['well_formed']['share']:.1%} of {form['num_items']} thoughts well formed")
    for test, rows in record["choices"].items():
        rights = ", ".join(f"{stage} {row['right']['share']:.1%}" for stage, row in rows.items() if row["right"])
        lines += [f"letters right in {test}: {rights}"] if rights else []
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(exit_status("tuning_ladder", lambda: main(sys.argv[1:])))
