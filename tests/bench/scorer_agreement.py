"""Our scorers beside lmms-eval's own functions, on the same questions and replies.

    python tests/bench/scorer_agreement.py --lmms-python LMMS_VENV/bin/python

For every benchmark that both packages have: a few dozen questions in the layout of its published files, read by our
class, each answered in some twenty to sixty forms, right and wrong; every reply scored by both, and figures of whole
runs put together by both. LMMS_VENV is a virtual environment with lmms-eval 0.7.3 (docs/benchmarks.md has one that is
made in a minute). What the two score differently must stand in scorer_known.py with the reason; anything else, a reason
that is no longer needed, or figures that are apart on plain answers end the program with an error. Writes
docs/results/scorers.json.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scorer_known import KNOWN
from scorer_questions import BUILDERS, Question
from scorer_replies import PLAIN, Reply, replies

from vst_vla.vla.benchmarks import Benchmark, make_benchmark
from vst_vla.vla.benchmarks.base import Scored
from vst_vla.vla.benchmarks.item import Item
from vst_vla.vla.files import write_json

CHILD = Path(__file__).with_name("lmms_scores.py")
SAME = 1e-6
FIGURES = {
    "vsi_bench": {
        "mean_of_tasks": "vsibench_overall",
        **{f"object_{name}": f"object_{name}_mra" for name in ("abs_distance", "counting", "size_estimation")},
        **{name: f"{name}_accuracy" for name in ("object_rel_distance", "object_rel_direction", "route_planning")},
        "room_size_estimation": "room_size_estimation_mra",
        "obj_appearance_order": "obj_appearance_order_accuracy",
    },
    "mmsi_bench": {"accuracy": "average"},
    "cv_bench": {"official": "cv_bench_default_aggregate_results", "micro": "cv_bench_acc"},
    "blink": {"accuracy": "blink_acc"},
    "3dsrbench": {
        name: f"{name}_accuracy"
        for name in (
            "vanilla",
            "flip",
            "circular",
            "flip_circular",
            "height",
            "location",
            "orientation",
            "multi_object",
        )
    },
    "embspatial": {"accuracy": "embspatial_acc"},
    "mindcube": {
        name: f"{'overall' if name == 'accuracy' else name}_accuracy"
        for name in ("accuracy", "rotation", "among", "around")
    },
    "sat": {"accuracy": "exact_match"},
    "spatial457": {"accuracy": "spatial457_accuracy"},
    "spatial_dise": {"accuracy": "spatial_dise_acc"},
    "gqa": {"accuracy": "exact_match"},
    "detection_3d": {"AP25": "sunrgbd_mAP25", "AP50": "sunrgbd_mAP50"},
}
"""Our figures, and lmms-eval's metrics that mean the same."""


class Work(NamedTuple):
    """One benchmark's questions and replies."""

    benchmark: Benchmark
    questions: Sequence[Question]
    items: Sequence[Item]
    pairs: Sequence[tuple[int, Reply]]  # with the question's place
    runs: dict[str, list[int]]  # one pair a question, by place


def main() -> None:
    """Scores, compares, writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lmms-python", required=True, help="a Python that has lmms-eval")
    parser.add_argument("--out", default="docs/results/scorers.json")
    arguments = parser.parse_args()
    works = {name: prepare(name) for name in BUILDERS}
    theirs = ask(arguments.lmms_python, works)
    rows = {name: compare(work, name=name, **theirs["answers"][name]) for name, work in works.items()}
    write_json(Path(arguments.out), record(rows, version=theirs["version"]))
    for name, row in rows.items():
        print(f"{name}: {row['agree']} of {row['pairs']} replies scored alike, {len(row['differences'])} kinds differ")
    complaints = check(rows)
    if complaints:
        sys.exit("\n".join(complaints))


def prepare(name: str) -> Work:
    """A benchmark's files, written and read back by our class."""
    benchmark = make_benchmark({"name": name})
    with tempfile.TemporaryDirectory() as folder:
        questions = BUILDERS[name](Path(folder))
        items = list(benchmark.items(Path(folder)))
    for question, item in zip(questions, items, strict=True):
        assert question.truth.lower() == item.truth.lower(), f"{name}: {question} was read as {item}"
    pairs = [(n, reply) for n, question in enumerate(questions) for reply in replies(question, name=name)]
    return Work(benchmark, questions, items, pairs, runs(pairs))


def runs(pairs: Sequence[tuple[int, Reply]]) -> dict[str, list[int]]:
    """Two runs: every question answered plainly, four in five rightly; and every question in a form drawn at random."""
    rng, by_question = random.Random(0), defaultdict(list)
    for place, (question, _) in enumerate(pairs):
        by_question[question].append(place)
    plain = []
    for places in by_question.values():
        right = rng.random() < 0.8
        plain.append(next(n for n in places if pairs[n][1].form in PLAIN and pairs[n][1].right == right))
    return {"plain": plain, "mixed": [rng.choice(places) for places in by_question.values()]}


def ask(python: str, works: dict[str, Work]) -> dict[str, Any]:
    """lmms-eval's scores and figures, from its own Python."""
    asked = {
        name: {
            "docs": [question.doc for question in work.questions],
            "pairs": [(n, reply.text) for n, reply in work.pairs],
            "runs": work.runs,
        }
        for name, work in works.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.json"
        done = subprocess.run([python, str(CHILD), str(out)], input=json.dumps(asked), text=True, capture_output=True)
        if done.returncode:
            sys.exit(f"lmms-eval's side failed: {done.stderr.strip()[-2000:]}")
        return json.loads(out.read_text())


def compare(work: Work, *, name: str, scores: list[float], figures: dict[str, dict[str, float]]) -> dict[str, Any]:
    """One benchmark's part of the record."""
    scored = [work.benchmark.score(work.items[n], reply=reply.text) for n, reply in work.pairs]
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    fits: dict[str, set[str]] = defaultdict(set)
    for (n, reply), entry, theirs in zip(work.pairs, scored, scores, strict=True):
        ours = own_score(work.benchmark, entry, name=name)
        if abs(ours - theirs) > SAME:
            example = {"reply": reply.text, "truth": work.questions[n].truth, "ours": ours, "lmms_eval": theirs}
            kinds[reply.form, "ours" if ours > theirs else "lmms_eval"].append(example)
            fits[reply.form].add("ours" if ours == float(reply.says_truth) else "lmms_eval")
    return {
        "questions": len(work.items),
        "pairs": len(work.pairs),
        "agree": len(work.pairs) - sum(map(len, kinds.values())),
        "figures": {run: sums(work, run, scored, figures[run], name=name) for run in work.runs},
        "differences": [
            {"form": form, "higher": higher, "pairs": len(found), "example": found[0], **reason(name, form, fits[form])}
            for (form, higher), found in kinds.items()
        ],
    }


def own_score(benchmark: Benchmark, entry: Scored, *, name: str) -> float:
    """An item's score; of boxes the AP25 of its picture alone, for lmms-eval has no other score by item."""
    return benchmark.figures([entry])["AP25"] if name == "detection_3d" else entry.score


def sums(work: Work, run: str, scored: Sequence[Scored], theirs: dict[str, float], *, name: str) -> dict[str, Any]:
    """Both packages' figures of one run."""
    ours = work.benchmark.figures([scored[n] for n in work.runs[run]])
    return {
        key: {"ours": round(ours[key], 6), "lmms_eval": round(theirs[other], 6)} for key, other in FIGURES[name].items()
    }


def reason(name: str, form: str, fits: set[str]) -> dict[str, str | None]:
    """Why replies of this form differ, and whose scores fit what they say; no reason when none is known for that."""
    known = next((entry for entry in KNOWN if name in entry.benchmarks.split() and form in entry.forms), None)
    if known is None:
        return {"fits": None, "why": None}
    return {"fits": known.fits, "why": known.why if known.fits is None or fits == {known.fits} else None}


def check(rows: dict[str, Any]) -> list[str]:
    """What is wrong with the result: differences without a reason, reasons without a difference, figures apart."""
    kinds = [(name, kind) for name, row in rows.items() for kind in row["differences"]]
    known = {(name, form) for entry in KNOWN for name in entry.benchmarks.split() for form in entry.forms}
    stale = known - {(name, kind["form"]) for name, kind in kinds}
    return [
        *(f"{name}: no reason is known for {kind}" for name, kind in kinds if kind["why"] is None),
        *(f"{name}: replies of the form {form!r} do not differ, but a reason is kept" for name, form in sorted(stale)),
        *(
            f"{name}: {key} of the plain run is {pair['ours']} here and {pair['lmms_eval']} there"
            for name, row in rows.items()
            for key, pair in row["figures"]["plain"].items()
            if abs(pair["ours"] - pair["lmms_eval"]) > 2 * SAME
        ),
    ]


def record(rows: dict[str, Any], *, version: str) -> dict[str, Any]:
    """The file's content."""
    return {
        "command": "python tests/bench/scorer_agreement.py --lmms-python LMMS_VENV/bin/python",
        "what": "our scorers and lmms-eval's own functions on the same replies; figures of two runs, each with one "
        "reply a question: plain (bare answers, four in five right) and mixed (a form at random); of replies that are "
        "scored differently: whose score is higher, whose fits what the reply says, and which side differs and why",
        "lmms_eval": version,
        "pairs": sum(row["pairs"] for row in rows.values()),
        "agree": sum(row["agree"] for row in rows.values()),
        "unexplained": sum(kind["why"] is None for row in rows.values() for kind in row["differences"]),
        "benchmarks": rows,
    }


if __name__ == "__main__":
    main()
