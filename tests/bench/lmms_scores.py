"""lmms-eval's side of scorer_agreement.py: scores replies with its own functions, in a Python that has lmms-eval.

Reads {benchmark: {"docs": [document, …], "pairs": [[document's place, reply], …], "runs": {name: [pair's place, …]}}}
as JSON from standard input and writes {"version", "answers": {benchmark: {"scores": [score, …], "figures": {run:
{metric: value}}}}} to the file that its argument names, for tasks print. A reply goes the way that
`lmms_eval/evaluator.py` sends it: the task's filter, reasoning cut off as is the command line's default, white space,
`process_results`, and the metric's aggregation. Nothing of our package is imported here.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import lmms_eval.tasks
from lmms_eval.api.instance import Instance
from lmms_eval.api.metrics import exact_match_hf_evaluate, mean
from lmms_eval.api.reasoning import strip_reasoning_tags
from lmms_eval.filters import build_filter_ensemble
from lmms_eval.utils import load_yaml_config

REASONING_TAGS = [["<think>", "</think>"], ["<analysis>", "</analysis>"]]
METADATA = {"task": "task", "doc_id": 0, "repeats": 1}
"""What an instance must be told; scoring does not look at it."""
SCORES = ("score", "is_correct", "accuracy", "MRA:.5:.95:.05")
"""Where a task's result for one document keeps its score."""


class Source(NamedTuple):
    """Which of lmms-eval's tasks counts."""

    yaml: str
    metric: str
    more: tuple[str, ...] = ()  # aggregations that its file of functions has and its yaml leaves out


SOURCES = {
    "vsi_bench": Source("vsibench/vsibench.yaml", "vsibench_overall"),
    "mmsi_bench": Source("mmsi_bench/msr_bench.yaml", "average"),
    "cv_bench": Source("cv_bench/cv_bench.yaml", "cv_bench_acc", more=("cv_bench_default_aggregate_results",)),
    "blink": Source("blink/blink_counting.yaml", "blink_acc"),
    "3dsrbench": Source("3dsrbench/3dsrbench_circular.yaml", "vanilla_accuracy"),
    "embspatial": Source("embspatial/embspatial.yaml", "embspatial_acc"),
    "mindcube": Source("mindcube/mindcube_tiny.yaml", "overall_accuracy"),
    "sat": Source("sat/sat.yaml", "exact_match"),
    "spatial457": Source("spatial457/spatial457_l1_single.yaml", "spatial457_accuracy"),
    "spatial_dise": Source("spatial_dise/spatial_dise.yaml", "spatial_dise_acc"),
    "gqa": Source("gqa/gqa.yaml", "exact_match"),
    "detection_3d": Source("sunrgbd/sunrgbd.yaml", "sunrgbd_mAP25"),
}
Scorer = Callable[[dict[str, Any], str], dict[str, Any]]


def main() -> None:
    """Scores everything that was asked for."""
    asked = json.load(sys.stdin)
    answers = {name: score_all(SOURCES[name], **work) for name, work in asked.items()}
    Path(sys.argv[1]).write_text(json.dumps({"version": version("lmms-eval"), "answers": answers}))


def score_all(source: Source, *, docs: list[Any], pairs: list[list[Any]], runs: dict[str, list[int]]) -> dict[str, Any]:
    """Every pair's score, and every run's figures."""
    config = load_yaml_config(yaml_path=str(Path(lmms_eval.tasks.__file__).parent / source.yaml))
    scorer, metrics = make_scorer(config), aggregations(config, source)
    # A copy each: some tasks write their score into the document.
    results = [scorer(copy.deepcopy(docs[place]), reply) for place, reply in pairs]
    whole = metrics[source.metric]
    return {
        "scores": [worth(result[source.metric], whole) for result in results],
        "figures": {name: figures(metrics, [results[n] for n in places], source) for name, places in runs.items()},
    }


def make_scorer(config: dict[str, Any]) -> Scorer:
    """A document and a reply to the task's results, one a metric."""
    ensemble = make_filter(config)

    def score(doc: dict[str, Any], reply: str) -> dict[str, Any]:
        instance = Instance("generate_until", arguments=(), idx=0, metadata=METADATA, resps=[reply])
        ensemble.apply([instance], [doc])
        text = strip_reasoning_tags(instance.filtered_resps[ensemble.name], REASONING_TAGS).strip()
        if "process_results" in config:
            return config["process_results"](doc, [text])
        return {"exact_match": exact_match(config, doc, text)}

    return score


def make_filter(config: dict[str, Any]) -> Any:
    """The task's filter, or the first reply, as `ConfigurableTask` makes it."""
    if "filter_list" not in config:
        return build_filter_ensemble("none", [["take_first", None]])
    (only,) = config["filter_list"]
    steps = [[step["function"], {k: v for k, v in step.items() if k != "function"}] for step in only["filter"]]
    return build_filter_ensemble(only["name"], steps)


def exact_match(config: dict[str, Any], doc: dict[str, Any], text: str) -> float:
    """The metric of tasks without `process_results`, with the options of their yaml."""
    target = config["doc_to_target"]
    (metric,) = config["metric_list"]
    options = {k: v for k, v in metric.items() if k not in ("metric", "aggregation", "higher_is_better")}
    truth = target(doc) if callable(target) else doc[target]
    return float(exact_match_hf_evaluate(predictions=[text], references=[truth], **options)["exact_match"])


def aggregations(config: dict[str, Any], source: Source) -> dict[str, Callable[[Sequence[Any]], float]]:
    """Metric's name -> how its results are put together."""
    found = {
        row["metric"]: mean if row["aggregation"] == "mean" else row["aggregation"] for row in config["metric_list"]
    }
    return found | {name: config["process_results"].__globals__[name] for name in source.more}


def worth(result: Any, whole: Callable[[Sequence[Any]], float]) -> float:
    """One document's score; of a task that keeps none by document, its figure of this one alone."""
    if isinstance(result, float):
        return result
    found = [result[key] for key in SCORES if key in result]
    return float(found[0] if found else whole([result]))


def figures(metrics: dict[str, Any], results: list[Any], source: Source) -> dict[str, float]:
    """Every metric of one run."""
    found = {}
    for name, aggregate in metrics.items():
        key = source.metric if name in source.more else name
        mine = [result[key] for result in results if key in result]  # a category's metric has its own items only
        found |= {name: float(aggregate(mine))} if mine else {}
    return found


if __name__ == "__main__":
    main()
