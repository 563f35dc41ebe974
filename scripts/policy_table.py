"""`python -m vst_vla.scripts.policy_table`: policies trained and judged side by side, as JSON.

The verbs demos, qa, train and rollout, each of which goes on where it was; see configs/policy_table.yaml.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vst_vla.envs.report import REPORT_JSON
from vst_vla.envs.revision import code_revision
from vst_vla.scripts import demos, qa, rollout, train
from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status
from vst_vla.scripts.stages import Progress, Stage, overrides, run_stages
from vst_vla.vla.contracts import near_miss
from vst_vla.vla.files import write_json
from vst_vla.vla.train.curve import training_curve

VERBS = {"demos": demos.main, "qa": qa.main, "train": train.main, "rollout": rollout.main}
OF_A_JUDGEMENT = ("num_success", "num_episodes", "success_rate", "ci95", "mean_steps", "num_skipped", "checkpoint")


def main(argv: list[str]) -> int:
    """Runs all stages, a row at a time, and writes the record anew after each."""
    config = compose("policy_table", argv)
    progress = Progress(Path(config["out"]) / "progress.json")
    rows = chosen_rows(config)
    if status := run_stages(list(data_stages(config)), progress=progress):
        return status
    for number, name in enumerate(rows, start=1):
        if status := run_stages(list(row_stages(config, name)), progress=progress):
            return status
        record = make_record(config, rows[:number], progress)
        write_json(Path(config["record"]), {"command": " ".join([f"python -m {__spec__.name}", *argv]), **record})
        print(told(record))
    print(f"the record: {config['record']}")
    return 0


def chosen_rows(config: Mapping[str, Any]) -> list[str]:
    """The rows asked for, in the table's order.

    Raises:
        ValueError: for a row that the table does not have.
    """
    known, asked = list(config["table"]["rows"]), config["rows"]
    if asked == "all":
        return known
    for name in asked:
        if name not in known:
            raise ValueError(f"unknown row '{name}' of table {config['table']['name']}: {near_miss(name, known)}")
    return [name for name in known if name in asked]


def data_stages(config: dict[str, Any]) -> Iterator[Stage]:
    """What all rows share: demonstrations, questions, backbones tuned on questions."""
    table = config["table"]
    for part, verb in (("demos", "demos"), ("qa", "qa"), ("spatial", "train")):
        for name, settings in table[part].items():
            yield stage(config, part, verb, {**settings, "out": f"{config['out']}/{part}/{name}"})


def row_stages(config: dict[str, Any], name: str) -> Iterator[Stage]:
    """Training of one row, then each kind of its episodes."""
    table, out = config["table"], config["out"]
    settings = {**table["train"], **table["rows"][name], "out": f"{out}/policies/{name}"}
    yield stage(config, name, "train", settings)
    for kind in kinds_of(table, name):
        given = {"checkpoint": f"{out}/policies/{name}/model", "out": f"{out}/episodes/{name}/{kind}"}
        yield stage(config, f"{name} {kind}", "rollout", {**table["judge"][kind], **given})


def kinds_of(table: Mapping[str, Any], name: str) -> list[str]:
    """The kinds of episodes that a row is judged by: all that `only` does not keep to other rows."""
    only = table.get("only", {})
    return [kind for kind in table["judge"] if name in only.get(kind, [name])]


def stage(config: dict[str, Any], name: str, verb: str, settings: dict[str, Any]) -> Stage:
    """A verb with the table's seed."""
    arguments = overrides({"seed": config["seed"], **settings})
    return Stage(name=name, verb=verb, run=VERBS[verb], arguments=arguments)


def make_record(config: dict[str, Any], rows: list[str], progress: Progress) -> dict[str, Any]:
    """What the rows came to, out of what they have left in OUT."""
    return {
        "revision": code_revision(),
        "table": config["table"]["name"],
        "seed": config["seed"],
        "stage_s": {name: round(seconds, 1) for name, seconds in progress.seconds.items()},
        "peak_rss_gib": round(progress.peak_gib, 2),
        "rows": {name: row_record(config, name) for name in rows},
    }


def row_record(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A row: what was trained, how its loss fell, and its success by kind of episodes."""
    out, table = Path(config["out"]), config["table"]
    judged = kinds_of(table, name)
    reports = {kind: json.loads((out / "episodes" / name / kind / REPORT_JSON).read_text()) for kind in judged}
    return {
        "trained": overrides({**table["train"], **table["rows"][name]}),
        "curve": training_curve(out / "policies" / name / "run"),
        "assets": next(iter(reports.values()))["assets"],
        "judged": {kind: judgement(report) for kind, report in reports.items()},
    }


def judgement(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a report says in few numbers; `tasks` are successes by task."""
    tasks = {str(row["task_id"]): row["num_success"] for row in report["tasks"]}
    return {**{key: report[key] for key in OF_A_JUDGEMENT}, "tasks": tasks}


def told(record: Mapping[str, Any]) -> str:
    """The rows with their intervals."""
    kinds = list(dict.fromkeys(kind for row in record["rows"].values() for kind in row["judged"]))
    lines = [f"{'':<20}" + "".join(f"{kind:>26}" for kind in kinds)]
    for name, row in record["rows"].items():
        cells = [_cell(row["judged"][kind]) if kind in row["judged"] else "" for kind in kinds]
        lines.append(f"{name:<20}" + "".join(f"{cell:>26}" for cell in cells))
    return "\n".join(lines)


def _cell(judged: Mapping[str, Any]) -> str:
    low, high = judged["ci95"]
    return f"{judged['num_success']}/{judged['num_episodes']} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    sys.exit(exit_status("policy_table", lambda: main(sys.argv[1:])))
