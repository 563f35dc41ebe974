"""`vst-vla benchmark`: a backbone's answers to one benchmark, scored; see configs/benchmark.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vst_vla.policies.benchmark_report import make_report, write_report
from vst_vla.policies.benchmark_run import Answers, run_benchmark
from vst_vla.scripts.config import compose
from vst_vla.vla.benchmarks import make_benchmark

ANSWER_KEYS = ("checkpoint", "benchmark", "thinking", "max_new_tokens", "max_pixels")


def main(argv: list[str]) -> int:
    """Asks, scores and writes OUT/report.json and OUT/report.html."""
    config = compose("benchmark", argv)
    out = Path(config["out"] or f"outputs/benchmark/{config['benchmark']['name']}")
    benchmark = make_benchmark(config["benchmark"])
    settings = {key: config[key] for key in ANSWER_KEYS}
    scored = run_benchmark(
        benchmark,
        data=Path(config["data"]),
        out=out,
        answerer=None if config["checkpoint"] is None else make_answerer(config),
        settings=settings,
        batch_size=config["batch_size"],
        limit=config["limit"],
    )
    report = make_report(benchmark, scored, settings={**settings, "data": str(config["data"])})
    page = write_report(report, scored, out=out)
    interval = "" if report["ci95"] is None else f" (95 % interval {report['ci95'][0]} to {report['ci95'][1]})"
    counts = f"{report['num_items']} items, {report['num_unread']} unread"
    print(f"{benchmark.name}: {report['headline']} {report['score']}{interval}, {counts}")
    print(f"every item: {page}")
    return 0


def make_answerer(config: dict[str, Any]) -> Answers:
    """The checkpoint, on a GPU when there is one."""
    import torch

    from vst_vla.vla.answering import Answerer
    from vst_vla.vla.backbone import load_backbone

    backbone = load_backbone(config["checkpoint"])
    backbone.model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    return Answerer(backbone, **{key: config[key] for key in ("thinking", "max_new_tokens", "max_pixels")})
