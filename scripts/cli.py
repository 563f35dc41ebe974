"""`vst-vla VERB key=value …`: finds the verb's file in this folder and runs its `main`."""

from __future__ import annotations

import importlib
import sys

from vst_vla.vla.contracts import near_miss

VERBS = {
    "doctor": "checks this machine: Python, torch, GPU, renderer, assets, disk",
    "quickstart": "from nothing to a policy that succeeds in LIBERO, on two CPU cores",
    "demos": "scripted expert demonstrations as a LeRobot v3 dataset",
    "qa": "spatial questions with exact answers, in VST's parquet format",
    "train": "spatial tuning, or a policy co-trained with spatial data",
    "grpo": "reinforcement learning on questions whose answers a program checks",
    "rollout": "closed-loop episodes in LIBERO, with videos and a report",
    "benchmark": "a backbone's answers to spatial benchmarks, scored by their own rules",
    "serve": "a policy behind a websocket that openpi clients speak to",
}


def usage() -> str:
    """The list of verbs."""
    lines = [f"  {verb:<11} {what}" for verb, what in VERBS.items()]
    return "\n".join(["usage: vst-vla VERB [key=value …]   (vst-vla VERB --help lists a verb's keys)", "", *lines])


def main(argv: list[str] | None = None) -> int:
    """Runs one verb; prints a user's mistake as one line and returns 2 for it, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(usage())
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"vst-vla: unknown verb '{verb}': {near_miss(verb, VERBS)}", file=sys.stderr)
        return 2
    return _run(verb, rest)


def _run(verb: str, rest: list[str]) -> int:
    from vst_vla.scripts.exit_status import exit_status

    return exit_status(f"vst-vla {verb}", lambda: int(importlib.import_module(f"vst_vla.scripts.{verb}").main(rest)))


if __name__ == "__main__":
    sys.exit(main())
